// Asks how to read a text that is not UTF-8, and shows what comes of it. Knows no request.

import { t, woven } from "../../language.js";
import { el, select } from "../../ui.js";
import { ENCODINGS, guess, textIn } from "./encodings.js";

/** Characters that are shown. */
const SHOWN = 600;
/** Bytes that these are decoded from. */
const READ = 8192;

/**
 * A question about a text.
 *
 * @param {Uint8Array} bytes
 * @param {object} answers
 * @param {(text: string, encoding: string) => void} answers.accept with the whole text, and its
 *   encoding in words
 * @param {() => void} answers.asBytes
 */
export function decodingOf(bytes, { accept, asBytes }) {
  const head = bytes.subarray(0, READ);
  const options = { isCut: head.length < bytes.length };
  const shown = el("pre", { class: "preview", tabindex: "0", "aria-label": t("How it reads") });
  const said = el("p", { class: "wrong", role: "status", hidden: true });
  const yes = el(
    "button",
    { type: "button", class: "primary", on: { click: () => answer() } },
    t("Yes, read it like this"),
  );
  const chosen = select(Object.entries(ENCODINGS), { on: { change: () => show() } });
  chosen.value = guess(bytes);

  function show() {
    const text = textIn(chosen.value, head, options);
    shown.textContent = text?.slice(0, SHOWN) ?? "";
    refuse(text === null);
  }

  function refuse(isWrong) {
    said.hidden = !isWrong;
    said.textContent = isWrong ? t("It has bytes that mean nothing in this encoding.") : "";
    yes.disabled = isWrong;
  }

  function answer() {
    const text = textIn(chosen.value, bytes);
    refuse(text === null);
    if (text !== null) accept(text, ENCODINGS[chosen.value]);
  }

  show();
  const readAs = el("label", {}, ...woven("Read it as {encoding}", { encoding: chosen }));
  const raw = { type: "button", class: "quiet", on: { click: asBytes } };
  return el(
    "div",
    { class: "decoding" },
    el("p", {}, t("This text is not UTF-8."), " ", readAs),
    shown,
    said,
    el("p", {}, t("Does this look right?")),
    el("div", { class: "actions" }, yes, el("button", raw, t("Train on its bytes"))),
  );
}
