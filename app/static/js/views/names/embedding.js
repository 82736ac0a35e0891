// The HTML that puts the names on another page, and the models that have names to give.

import { copy, el } from "../../ui.js";

/** The models trained on lists, those with the shortest lines first. */
export function lists(models) {
  const length = ({ corpus }) =>
    corpus?.lines ? corpus.characters / corpus.lines : Number.POSITIVE_INFINITY;
  return models.filter(({ names }) => names).sort((one, other) => length(one) - length(other) || 0);
}

/** The two lines of HTML for another page; `server` is its URL, attributes are pairs, and `true` is one without value. */
export function snippet(server, attributes) {
  const written = attributes.map(([name, value]) =>
    value === true ? ` ${name}` : ` ${name}="${escaped(value)}"`,
  );
  return (
    `<script type="module" src="${server}/widget/charloom-names.js"></script>\n` +
    `<charloom-names${written.join("")}></charloom-names>`
  );
}

const escaped = (value) => value.replace(/&/g, "&amp;").replace(/"/g, "&quot;");

/** The section with that HTML; `show` takes the attributes. */
export function embedding(server) {
  const code = el("code");
  const button = el("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", () => copy(code.textContent, button));
  const lead = "Two lines of HTML, no library. It adopts the colours and fonts of your page.";
  const label = { tabindex: "0", role: "region", "aria-label": "HTML to embed the names" };
  const root = el(
    "section",
    { class: "embed", "aria-labelledby": "embed-title" },
    el(
      "div",
      { class: "title-line" },
      el("h2", { id: "embed-title" }, "Put it on your own page"),
      button,
    ),
    el("p", { class: "soft" }, lead),
    el("pre", label, code),
    el(
      "p",
      { class: "soft" },
      "No server where your page is? ",
      el("a", { href: "/models" }, "Save the model as a page"),
      ", put the file and the script beside yours, and name it: ",
      el("code", {}, '<charloom-names src="names.html">'),
      ".",
    ),
  );
  return {
    root,
    show(attributes) {
      code.textContent = snippet(server, attributes);
    },
  };
}
