// The URL of each view, and navigation between them. A view is a module of its own, fetched when it
// is first needed; its page stays as it was left.

import { t } from "./language.js";
import { at, within } from "./root.js";
import { el, heading, stylesheet, until } from "./ui.js";

/** A view's module, once the sheet that only it needs applies. */
const styled = (sheet, module) =>
  Promise.all([module, stylesheet(sheet)]).then(([loaded]) => loaded);

const VIEWS = [
  { path: /^\/$/, name: t("Write"), load: () => import("./views/write.js") },
  { path: /^\/train(?:\/([^/]+))?$/, name: t("Train"), load: () => import("./views/train.js") },
  { path: /^\/inside$/, name: t("Inside"), load: () => import("./views/inside.js") },
  { path: /^\/names$/, name: t("Names"), load: () => import("./views/names.js") },
  { path: /^\/models$/, name: t("Models"), load: () => import("./views/models.js") },
  {
    path: /^\/about$/,
    name: t("About"),
    load: () => styled("about.css", import("./views/about.js")),
  },
  { path: /^\/docs$/, name: t("API"), load: () => styled("docs.css", import("./views/docs.js")) },
];

const RELOADED = "charloom-reloaded";
/** Milliseconds between looks whether the server is back: at first, and at most. */
const PAUSES = [1000, 10_000];

/** The view at a path, if there is one. */
export const viewAt = (pathname) => VIEWS.find((view) => view.path.test(within(pathname)));

/**
 * Shows views in `main`.
 *
 * A view's module exports `create({ go })`, which returns its page: `root`, `show(url)`, which may
 * return a title, and optionally `hide()`.
 */
export class Router {
  #main;
  #pages = new Map();
  #current = null;
  #changed;

  /** `changed` is called whenever a view is about to be shown. */
  constructor(main, { changed = () => {} } = {}) {
    this.#main = main;
    this.#changed = changed;
  }

  /** Follows links and the browser's history from now on, beginning with the current URL. */
  start() {
    // Relative as they come, they would lead elsewhere from the URL of another view.
    for (const link of document.querySelectorAll("a:not([href^='#']), link[rel=icon]"))
      link.setAttribute("href", link.href);
    document.addEventListener("click", (event) => this.#follow(event));
    for (const occasion of ["pointerover", "focusin"])
      document.addEventListener(occasion, prefetch);
    addEventListener("popstate", () => this.#show({ focus: false }));
    this.#show({ focus: false });
  }

  /** Goes to a URL of ours; `replace` drops the current one, `quietly` leaves the page alone. */
  go(href, { replace = false, quietly = false } = {}) {
    history[replace ? "replaceState" : "pushState"](null, "", at(href));
    if (!quietly) this.#show({ focus: !replace });
  }

  /** Shows the current URL once more, with whatever has become possible since. */
  again() {
    this.#show({ focus: false });
  }

  async #show({ focus }) {
    const url = new URL(location);
    const view = viewAt(url.pathname) ?? VIEWS[0];
    markCurrent(view);
    document.title = `${view.name} · charloom`;
    this.#current = url;
    this.#changed();
    let page;
    try {
      page = await this.#page(view);
    } catch (error) {
      this.#failed(error);
      return;
    }
    // The visitor may have moved on while the module was loading.
    if (url !== this.#current) return;
    this.#swap(page);
    document.title = `${page.show(url) ?? view.name} · charloom`;
    sessionStorage.removeItem(RELOADED);
    if (focus) this.#main.focus({ preventScroll: true });
  }

  async #page(view) {
    if (!this.#pages.has(view)) {
      const { create } = await view.load();
      const go = (href, options) => this.go(href, options);
      if (!this.#pages.has(view)) this.#pages.set(view, create({ go }));
    }
    return this.#pages.get(view);
  }

  #swap({ root }) {
    if (this.#main.firstChild === root) return;
    for (const other of this.#pages.values())
      if (other.root !== root && other.root.isConnected) other.hide?.();
    this.#main.replaceChildren(root);
    scrollTo(0, 0);
  }

  async #failed(error) {
    const url = this.#current;
    const isThere = await answers();
    if (url !== this.#current) return;
    if (!isThere) {
      this.#swap({ root: awayPage(() => this.#show({ focus: true })) });
      if (await until(answers, PAUSES, () => url !== this.#current)) this.#show({ focus: false });
      return;
    }
    console.warn(error);
    // A new version of the server has new files under new names, and the old ones are gone. A reload
    // gets them; where other views hold something, that is for their reader to decide.
    if (!this.#pages.size && !sessionStorage.getItem(RELOADED)) {
      sessionStorage.setItem(RELOADED, "yes");
      location.reload();
      return;
    }
    this.#swap({ root: outdatedPage() });
  }

  #follow(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || !isPlainClick(event) || !isViewLink(link)) return;
    event.preventDefault();
    if (link.href !== location.href) this.go(link.href);
  }
}

const failurePage = (title, lead, label, click) =>
  el(
    "div",
    { class: "view", role: "alert" },
    heading(title, lead),
    el("p", {}, el("button", { type: "button", on: { click } }, label)),
  );

const awayPage = (again) =>
  failurePage(
    t("The server is away"),
    t("What the other views show is kept. This one comes as soon as the server is back."),
    t("Try again"),
    again,
  );

const outdatedPage = () =>
  failurePage(
    t("This view could not be loaded"),
    t(
      "The server may have been updated. Reloading the page gets its new files, and forgets what the other views show.",
    ),
    t("Reload the page"),
    () => location.reload(),
  );

/** Whether the server answers at all. */
const answers = () =>
  fetch(at("/healthz"), { cache: "no-store" }).then(
    () => true,
    () => false,
  );

const isPlainClick = (event) =>
  !event.defaultPrevented && !event.button && !event.metaKey && !event.ctrlKey && !event.shiftKey;

const isViewLink = (link) =>
  // Within the page the browser knows the way.
  !link.getAttribute("href").startsWith("#") &&
  link.origin === location.origin &&
  !link.target &&
  !link.hasAttribute("download") &&
  viewAt(link.pathname);

/** Marks the view's link in the navigation. */
function markCurrent(view) {
  for (const link of document.querySelectorAll(".top a[data-view]:not(.brand)")) {
    if (viewAt(new URL(link.href).pathname) === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Fetches a view when its link is pointed at or focused, before the click comes. */
function prefetch(event) {
  const link = event.target.closest?.("a[data-view]");
  if (link)
    viewAt(link.pathname)
      ?.load()
      .catch(() => {});
}
