// Where the server's URLs begin: at its origin, or below a path that a proxy put in front, which the
// server need not know. Knows no view.

/** This file is at static/VERSION/js/root.js. */
const ROOT = new URL("../../../", import.meta.url);

/** The server's own URL, without a slash at the end. */
export const SERVER = ROOT.href.slice(0, -1);

/** The URL of a path of the server's; anything else is left as it is. */
export const at = (path) => (path.startsWith("/") ? ROOT.pathname + path.slice(1) : path);

/** The path of the server's that a URL's path is: the opposite of `at`. */
export const within = (pathname) =>
  pathname.startsWith(ROOT.pathname) ? pathname.slice(ROOT.pathname.length - 1) : pathname;
