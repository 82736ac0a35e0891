// The button that switches to another language. The server reads the choice from a cookie.

import { at } from "./root.js";

const COOKIE = "charloom_language";
const YEAR_SECONDS = 365 * 86_400;

/** Loads the page in the language that a button names, at a click of it. */
export function switchLanguage(button) {
  button.addEventListener("click", () => {
    // biome-ignore lint/suspicious/noDocumentCookie: CookieStore is not everywhere yet.
    document.cookie = `${COOKIE}=${button.lang}; path=${at("/")}; max-age=${YEAR_SECONDS}; samesite=lax`;
    location.reload();
  });
}
