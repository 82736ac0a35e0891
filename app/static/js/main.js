// Starts the pages: colours, the key, navigation, and a place for errors that no view has shown.

import { Problem } from "./api.js";
import { switchColours } from "./colours.js";
import { enterKey, KEY_NEEDED } from "./key.js";
import { t } from "./language.js";
import { switchLanguage } from "./language_switch.js";
import { Router } from "./router.js";
import { el } from "./ui.js";

const main = document.getElementById("main");
const key = document.getElementById("key");
/** Beside the view: what it shows stays as it is. */
const told = el("div", { class: "told" });
main.before(told);

const router = new Router(main, { changed: () => told.replaceChildren() });

addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  const { message, status } = event.reason;
  const wantsKey = status === 401 || status === 403;
  const click = wantsKey ? unlock : () => router.again();
  const button = el(
    "button",
    { type: "button", on: { click } },
    wantsKey ? t("Enter a key") : t("Try again"),
  );
  // Requests that were sent together fail together.
  told.replaceChildren(el("p", { class: "message problem", role: "alert" }, message, button));
});

async function unlock() {
  if (await enterKey()) router.again();
}

addEventListener(KEY_NEEDED, () => {
  key.hidden = false;
});
key.addEventListener("click", unlock);

switchColours(document.getElementById("theme"));
switchLanguage(document.getElementById("language"));
router.start();
