// Starts the pages: colours, navigation, and a place for errors that no view has shown.

import { Problem } from "./api.js";
import { switchColours } from "./colours.js";
import { Router } from "./router.js";
import { el } from "./ui.js";

const main = document.getElementById("main");

addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  main.prepend(el("p", { class: "message problem", role: "alert" }, event.reason.message));
});

switchColours(document.getElementById("theme"));
new Router(main).start();
