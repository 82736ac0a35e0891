// Which view is at which URL, and the way between them. A view is a module of its own, fetched
// when it is first needed, and stays as it was left.

import { Problem } from "./api.js";
import { el } from "./ui.js";

const VIEWS = [
  { path: /^\/$/, name: "Write", load: () => import("./views/write.js") },
  { path: /^\/train(?:\/([^/]+))?$/, name: "Train", load: () => import("./views/train.js") },
  { path: /^\/inside$/, name: "Inside", load: () => import("./views/inside.js") },
  { path: /^\/names$/, name: "Names", load: () => import("./views/names.js") },
  { path: /^\/models$/, name: "Models", load: () => import("./views/models.js") },
];

const RELOADED = "charloom-reloaded";

const main = document.getElementById("main");
const shown = new Map();
let current = null;

const viewAt = (pathname) => VIEWS.find((view) => view.path.test(pathname));

/** Shows what the address says. */
async function show({ focus }) {
  const address = new URL(location);
  const view = viewAt(address.pathname) ?? VIEWS[0];
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = viewAt(new URL(link.href).pathname) === view;
    link.toggleAttribute("aria-current", isHere);
    if (isHere) link.setAttribute("aria-current", "page");
  }
  document.title = `${view.name} · charloom`;
  const going = (current = Symbol(view.name));
  let page = shown.get(view);
  try {
    if (!page) {
      page = (await view.load()).create({ go });
      shown.set(view, page);
    }
  } catch (error) {
    return failed(error);
  }
  // Somebody who is faster than the network has gone elsewhere meanwhile.
  if (going !== current) return;
  if (main.firstChild !== page.root) {
    shown.forEach((other) => other !== page && other.root.isConnected && other.hide?.());
    main.replaceChildren(page.root);
    scrollTo(0, 0);
  }
  document.title = `${page.show(address) ?? view.name} · charloom`;
  sessionStorage.removeItem(RELOADED);
  if (focus) main.focus({ preventScroll: true });
}

function failed(error) {
  // A new server has new files under new names; the old ones are gone.
  if (!sessionStorage.getItem(RELOADED)) {
    sessionStorage.setItem(RELOADED, "yes");
    return location.reload();
  }
  console.warn(error);
  main.replaceChildren(
    el(
      "p",
      { class: "message problem", role: "alert" },
      "This view could not be loaded. ",
      el("a", { href: location.href }, "Try again"),
    ),
  );
}

/** Goes to an address of ours; `replace` leaves no trace of the one before. */
export function go(href, { replace = false, quietly = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", href);
  if (!quietly) show({ focus: !replace });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (
    !link ||
    event.defaultPrevented ||
    event.button ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey
  )
    return;
  // Within the page the browser knows the way.
  if (link.getAttribute("href").startsWith("#")) return;
  if (
    link.origin !== location.origin ||
    link.target ||
    link.hasAttribute("download") ||
    !viewAt(link.pathname)
  )
    return;
  event.preventDefault();
  if (link.href !== location.href) go(link.href);
});

// Fetched before the click is there.
for (const occasion of ["pointerover", "focusin"]) {
  document.addEventListener(occasion, (event) => {
    const link = event.target.closest?.("a[data-view]");
    if (link)
      viewAt(link.pathname)
        ?.load()
        .catch(() => {});
  });
}

addEventListener("popstate", () => show({ focus: false }));

// Colours

const root = document.documentElement;
const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);

function told() {
  theme.setAttribute("aria-pressed", String(isDark()));
  // Canvases hold colours, not names of colours.
  dispatchEvent(new Event("colours"));
}

theme.addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  // Back to what the system says is back to following it.
  if ((chosen === "dark") === dark.matches) delete root.dataset.theme;
  else root.dataset.theme = chosen;
  try {
    if (root.dataset.theme) localStorage.setItem("charloom-theme", chosen);
    else localStorage.removeItem("charloom-theme");
  } catch {
    // Then it is forgotten with the page.
  }
  told();
});
dark.addEventListener("change", told);
told();

addEventListener("unhandledrejection", (event) => {
  // What a view did not show itself: the server's own words, at the top.
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  main.prepend(el("p", { class: "message problem", role: "alert" }, event.reason.message));
});

show({ focus: false });
