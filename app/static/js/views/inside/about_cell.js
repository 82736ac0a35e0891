// A page about one cell: what it tracks and how well, a histogram of its values, the lines where it
// is most excited and most quiet, what the model writes without it, and a picture to put elsewhere.

import { Latest, post, wasAborted, whenReady } from "../../api.js";
import { spansOf, unitsOf } from "../../parts/sheet/units.js";
import { counted, inLanguage, t, together } from "../../language.js";
import { copy, el, field, glyph, message, number, showErrors, clearErrors, svg } from "../../ui.js";
import { embedded } from "./embed.js";
import { pathOf } from "./reading.js";
import { howWell, nameOf } from "./words.js";

const PAUSE = 400;
const SEEDS = 1_000_000;

export class AboutCell {
  #model = null;
  #cell = null;
  #timer = null;
  #loading = new Latest();
  #writing = new Latest();
  #said = message();
  #found = el("div", { class: "about-found" });
  #prime = el("input", { name: "prime", maxlength: "2000", spellcheck: "false" });
  #written = el("div", { class: "written-pair", hidden: true });
  #style = () => null;
  #form;

  /** `style` gives the style to write in. */
  constructor(style) {
    this.#style = style;
    this.#form = this.#writer();
    this.root = el(
      "details",
      { class: "about-cell", on: { toggle: () => this.#load() } },
      el("summary", {}, t("More about this cell")),
      el("div", { class: "card stack" }, this.#said.place, this.#found, this.#form),
    );
  }

  #writer() {
    const submit = (event) => {
      event.preventDefault();
      this.#write();
    };
    return el(
      "form",
      { class: "stack", on: { submit } },
      el("h3", {}, t("Switch it off and write")),
      field(t("Begins with"), this.#prime),
      el("div", { class: "actions" }, el("button", {}, t("Write with and without it"))),
      this.#written,
    );
  }

  /** Turns to a cell; it is asked about when somebody looks. */
  show(model, cell) {
    const isSame = model === this.#model && cell.layer === this.#cell?.layer;
    if (isSame && cell.cell === this.#cell.cell) return;
    this.#model = model;
    this.#cell = cell;
    this.#writing.abort();
    this.#written.hidden = true;
    this.#found.replaceChildren();
    clearTimeout(this.#timer);
    // A slider passes many cells.
    this.#timer = setTimeout(() => this.#load(), PAUSE);
  }

  async #load() {
    if (!this.root.open || !this.#model || this.#found.childNodes.length) return;
    const { layer, cell } = this.#cell;
    const signal = this.#loading.begin();
    const waiting = () => this.#said.say(t("Searching the cells …"));
    try {
      const path = `${pathOf(this.#model)}/cells/${layer}/${cell}`;
      const portrait = await whenReady(path, { signal, waiting });
      this.#said.clear();
      this.#found.replaceChildren(...this.#describe(portrait));
    } catch (error) {
      if (!wasAborted(error)) this.#said.say(error.message, "problem");
    }
  }

  #describe(portrait) {
    const { tracks, counts, excited, quiet, layer, cell } = portrait;
    const title = el("h2", {}, nameOf({ layer, cell }, this.#model));
    const facts = tracks.length
      ? el(
          "ul",
          { class: "tracks" },
          ...tracks.map((one) =>
            el("li", {}, together(t("“{title}”.", { title: inLanguage(one.title) }), howWell(one))),
          ),
        )
      : el("p", {}, t("It tracks nothing that has a name here."));
    if (!counts.some(Boolean))
      return [title, facts, el("p", { class: "hint" }, t("This model came without unseen text."))];
    const yes = tracks.find((one) => one.counts);
    return [
      title,
      facts,
      el("h3", {}, t("Its values on unseen text")),
      histogram(counts, yes),
      ...this.#stretches(t("Where it is most excited"), excited),
      ...this.#stretches(t("Where it is most quiet"), quiet),
    ];
  }

  #stretches(title, stretches) {
    return [
      el("h3", {}, title),
      ...stretches.map((stretch) => {
        const { chars, activations } = inUnits(stretch);
        return el(
          "div",
          { class: "copied" },
          el("pre", { class: "coloured" }, ...coloured(chars, activations)),
          this.#copier(chars, activations),
        );
      }),
    ];
  }

  #copier(chars, values) {
    const { layer, cell } = this.#cell;
    const caption = t(
      "Layer {layer}, cell {cell} of the model {model}: orange and a bar below where it is excited, blue and a bar above where it is quiet.",
      { layer, cell, model: this.#model.model },
    );
    const html = embedded({ chars, values, caption });
    const click = ({ target }) => copy(html, target);
    return el("button", { type: "button", class: "quiet", on: { click } }, t("Copy as HTML"));
  }

  async #write() {
    const { layer, cell } = this.#cell;
    const seed = Math.floor(Math.random() * SEEDS);
    const fields = { layer, cells: [cell], prime: this.#prime.value, length: 400, seed };
    const style = this.#style();
    if (style) fields.style = style;
    clearErrors(this.#form);
    this.#written.setAttribute("aria-busy", "true");
    try {
      const options = { signal: this.#writing.begin() };
      const path = `${pathOf(this.#model)}/ablate`;
      const found = await post(path, { ...fields, temperature: 0.7 }, options);
      this.#written.replaceChildren(
        ...pair(this.#prime.value, found.whole, found.ablated, `${layer}·${cell}`),
      );
      this.#written.hidden = false;
    } catch (error) {
      if (!wasAborted(error) && !showErrors(this.#form, error))
        this.#said.say(error.message, "problem");
    } finally {
      this.#written.removeAttribute("aria-busy");
    }
  }
}

const WIDTH = 400;
const HEIGHT = 90;

/** Bars from −1 to 1; those of the characters where the thing holds are hatched. */
function histogram(counts, yes) {
  const most = Math.max(...counts);
  const step = WIDTH / counts.length;
  const bars = (values, name) =>
    values.map((count, i) => {
      const height = (HEIGHT * count) / most;
      const place = { x: i * step + 0.5, y: HEIGHT - height, width: step - 1, height };
      return svg("rect", { ...place, class: name });
    });
  const label = (x, text, anchor) =>
    svg("text", { x, y: HEIGHT + 16, "text-anchor": anchor }, text);
  const words = yes
    ? t("In front: where “{title}” holds. From −1, quiet, to 1, excited.", {
        title: inLanguage(yes.title),
      })
    : t("From −1, quiet, to 1, excited.");
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT + 20}`,
    class: "histogram",
    role: "img",
    "aria-label": together(t("Histogram of the cell's values."), words),
  });
  picture.append(
    ...bars(counts, "all"),
    ...(yes ? bars(yes.counts, "holds") : []),
    label(0, "−1", "start"),
    label(WIDTH / 2, "0", "middle"),
    label(WIDTH, "1", "end"),
  );
  return el("figure", {}, picture, el("figcaption", { class: "hint" }, words));
}

const coloured = (chars, values) =>
  chars.map((char, i) => {
    const name = values[i] > 0 ? "is-excited" : "is-quiet";
    const shown = char === "\n" ? "⏎\n" : char.trim() || char === " " ? char : glyph(char);
    const span = el("span", { class: name }, shown);
    span.style.setProperty("--strength", Math.min(1, Math.abs(values[i])));
    return span;
  });

/** A stretch's units, with the activation after the last character of each. */
function inUnits({ text, activations }) {
  const chars = [...text];
  const spans = spansOf(chars);
  return {
    chars: spans.map(([begin, end]) => chars.slice(begin, end).join("")),
    activations: spans.map(([, end]) => activations[end - 1]),
  };
}

/** The two texts; from where they part the second is marked. */
function pair(prime, whole, ablated, name) {
  const texts = [unitsOf(whole), unitsOf(ablated)];
  const differs = texts[0].findIndex((char, i) => char !== texts[1][i]);
  const same = differs < 0 ? texts[0].length : differs;
  const column = (title, chars) =>
    el(
      "div",
      {},
      el("h4", {}, title),
      el(
        "p",
        { class: "sample" },
        el("span", { class: "prime" }, prime),
        chars.slice(0, same).join(""),
        el("mark", {}, chars.slice(same).join("")),
      ),
    );
  const about =
    differs < 0
      ? t("Both texts are the same.")
      : counted(
          same,
          number(same),
          "Both are drawn from the same random numbers. They part after {n} character.",
          "Both are drawn from the same random numbers. They part after {n} characters.",
        );
  return [
    column(t("With all cells"), texts[0]),
    column(t("Without cell {name}", { name }), texts[1]),
    el("p", { class: "hint" }, about),
  ];
}
