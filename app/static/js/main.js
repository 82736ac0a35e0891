// Starts the pages: colours, the key, navigation, and a place for errors that no view has shown.

import { Problem } from "./api.js";
import { switchColours } from "./colours.js";
import { enterKey, KEY_NEEDED } from "./key.js";
import { t } from "./language.js";
import { switchLanguage } from "./language_switch.js";
import { Router } from "./router.js";
import { el, told } from "./ui.js";

const main = document.getElementById("main");
const key = document.getElementById("key");
/** Beside the view: what it shows stays as it is. */
const place = el("div", { class: "told" });
main.before(place);

const router = new Router(main, { changed: () => place.replaceChildren() });

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
  place.replaceChildren(
    el("p", { class: "message problem", role: "alert" }, ...told(message), button),
  );
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
