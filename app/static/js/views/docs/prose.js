// The document's descriptions as elements: paragraphs, indented code, `code` within a line.

import { SERVER } from "../../root.js";
import { el } from "../../ui.js";

/** Where the document's examples call a server, which is another one than this. */
const ELSEWHERE = /http:\/\/localhost:8000/g;

/** The paragraphs of a description. */
export const prose = (text) =>
  text
    .replace(ELSEWHERE, SERVER)
    .split(/\n{2,}/)
    .filter((part) => part.trim())
    .map((part) =>
      part.startsWith("    ")
        ? el("pre", { class: "code", tabindex: "0" }, part.replace(/^ {4}/gm, ""))
        : el("p", {}, ...inline(part)),
    );

/** A line's nodes, with `code` where it is marked. */
export const inline = (text) =>
  text.split(/`([^`]+)`/).map((part, i) => (i % 2 ? el("code", {}, part) : part));
