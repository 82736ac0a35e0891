// Applies the chosen colours before anything is painted. Not a module: those wait for the document.
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("charloom-theme");
  } catch {
    // Storage may be forbidden; then the system decides.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
