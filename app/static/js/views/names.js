// Names: the widget, with everything about it to turn, and the lines that put it on another page.

import { authorization, list } from "../api.js";
import { copy, count, el, field, heading, select } from "../ui.js";
import "/widget/charloom-names.js";

export function create() {
  const model = select([], { name: "model" });
  const startsWith = el("input", {
    name: "starts-with",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: "40",
    placeholder: "anything",
  });
  const shortest = el("input", {
    name: "min-length",
    type: "number",
    min: "1",
    max: "200",
    placeholder: "any",
  });
  const longest = el("input", {
    name: "max-length",
    type: "number",
    min: "1",
    max: "200",
    placeholder: "any",
  });
  const amount = el("input", { name: "count", type: "number", min: "1", max: "1000", value: "24" });
  const temperature = el("input", {
    name: "temperature",
    type: "range",
    min: "0.1",
    max: "2",
    step: "0.05",
    value: "0.8",
  });
  const shown = el("output", { class: "value" });
  const novel = el("input", { name: "novel", type: "checkbox", role: "switch", checked: true });
  const widget = document.createElement("charloom-names");
  const found = el("p", { class: "facts", role: "status" });
  const code = el("code");
  const copied = el(
    "button",
    { type: "button", class: "quiet", on: { click: () => copy(code.textContent, copied) } },
    "Copy",
  );
  const empty = el(
    "p",
    { class: "message note", hidden: true },
    "No model was trained on a list yet. ",
    el("a", { href: "/train" }, "Train one on names, one a line."),
  );

  widget.setAttribute("manual", "");
  const rail = el(
    "form",
    {
      class: "rail",
      "aria-label": "Which names",
      on: {
        input: changed,
        submit: (event) => {
          event.preventDefault();
          draw();
        },
      },
    },
    el("div", { class: "stack" }, field("Model", model), field("Starts with", startsWith)),
    field("Temperature", temperature, { side: shown }),
    el(
      "div",
      { class: "trio" },
      field("Shortest", shortest),
      field("Longest", longest),
      field("How many", amount),
    ),
    el("label", { class: "switch" }, novel, el("span", {}, "Only new ones")),
  );
  const root = el(
    "div",
    { class: "view" },
    heading(
      "Names that nobody has",
      "A network that has read a list of names makes up more of the kind: for a novel, a game, a cat.",
    ),
    empty,
    el(
      "div",
      { class: "write" },
      el(
        "div",
        { class: "names-page" },
        el("section", { class: "card", "aria-label": "The names" }, widget, found),
      ),
      rail,
    ),
    el(
      "section",
      { class: "embed", "aria-labelledby": "embed-title" },
      el(
        "div",
        { class: "title-line" },
        el("h2", { id: "embed-title" }, "On a page of yours"),
        copied,
      ),
      el(
        "p",
        { class: "soft" },
        "Two lines of HTML, no library. It takes the colours and the type of the page around it.",
      ),
      el("pre", { tabindex: "0", role: "region", "aria-label": "HTML to embed the names" }, code),
    ),
  );

  let timer = 0;

  function attributes() {
    const values = {
      model: model.value,
      temperature: temperature.value,
      "starts-with": startsWith.value.trim(),
      "min-length": shortest.value,
      "max-length": longest.value,
      count: amount.value,
    };
    return Object.entries(values).filter(([, value]) => value !== "");
  }

  function write() {
    shown.textContent = Number(temperature.value).toFixed(2);
    const given = attributes().map(
      ([name, value]) => ` ${name}="${value.replace(/&/g, "&amp;").replace(/"/g, "&quot;")}"`,
    );
    code.textContent =
      `<script type="module" src="${location.origin}/widget/charloom-names.js"></script>\n` +
      `<charloom-names${given.join("")}${novel.checked ? " novel" : ""}></charloom-names>`;
  }

  function changed() {
    write();
    clearTimeout(timer);
    timer = setTimeout(draw, 350);
  }

  function draw() {
    clearTimeout(timer);
    if (!rail.reportValidity()) return;
    for (const name of ["model", "temperature", "starts-with", "min-length", "max-length", "count"])
      widget.removeAttribute(name);
    for (const [name, value] of attributes()) widget.setAttribute(name, value);
    widget.toggleAttribute("novel", novel.checked);
    widget.headers = authorization();
    widget.draw();
  }

  widget.addEventListener(
    "charloom-done",
    (event) =>
      (found.textContent = event.detail.names.length
        ? count(event.detail.names.length, "name")
        : ""),
  );
  widget.addEventListener("charloom-error", () => (found.textContent = ""));

  let wasAsked = false;

  async function show() {
    const models = await list("/models", "models");
    const was = model.value;
    // Lists have short lines: first those that look like one.
    const length = ({ corpus }) => (corpus?.lines ? corpus.characters / corpus.lines : Infinity);
    const lists = models.filter((one) => length(one) < 40).sort((a, b) => length(a) - length(b));
    model.replaceChildren(...lists.map((one) => new Option(one.model)));
    if (lists.some((one) => one.model === was)) model.value = was;
    empty.hidden = lists.length > 0;
    write();
    if (lists.length && !wasAsked) draw();
    wasAsked ||= lists.length > 0;
  }

  return { root, show: () => void show() };
}
