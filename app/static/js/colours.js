// The button that switches between light and dark colours. theme.js applies the choice when the
// next page loads, before anything is painted.

const KEY = "charloom-theme";

const root = () => document.documentElement;
const system = () => matchMedia("(prefers-color-scheme: dark)");

const isDark = () => (root().dataset.theme ? root().dataset.theme === "dark" : system().matches);

/** Switches colours at a click of the button, and tells canvases of every change. */
export function switchColours(button) {
  const tell = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    // Canvases hold colours, not names of colours.
    dispatchEvent(new Event("colours"));
  };
  button.addEventListener("click", () => {
    choose(isDark() ? "light" : "dark");
    tell();
  });
  system().addEventListener("change", tell);
  tell();
}

function choose(theme) {
  // Choosing the system's own colours means following the system again.
  if ((theme === "dark") === system().matches) delete root().dataset.theme;
  else root().dataset.theme = theme;
  try {
    if (root().dataset.theme) localStorage.setItem(KEY, theme);
    else localStorage.removeItem(KEY);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}
