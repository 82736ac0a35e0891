// Inside: the essay's pictures of any model and any text. What a cell says at each character, what
// the network guesses next, what surprised it, and which cells follow something that has a name.

import { list, post, wasAborted, whenReady } from "../api.js";
import { grid } from "../parts/grid.js";
import {
  clearErrors,
  colour,
  count,
  el,
  field,
  glyph,
  heading,
  hundredths,
  loss,
  message,
  number,
  percent,
  select,
  showErrors,
} from "../ui.js";

const MAX_TEXT = 20_000;
/** Cells that are asked for at once: reading a text costs a network more than telling of cells. */
const BLOCK = 64;
/** Cells of a hypothesis that are offered. */
const SHOWN = 3;
/** What the model writes where there is nothing else to read: long enough to scroll through. */
const WRITTEN = { length: 2000, temperature: 0.8, seed: 1 };
/** Characters of the picture of all cells; and no more values than the server gives at once. */
const WEAVE = 480;
const MAX_VALUES = 1_000_000;
const NARROW = matchMedia("(max-width: 900px)");
const and = new Intl.ListFormat("en");
const DRAWN_SEEDS = 1_000_000;

const MODES = {
  guesses: [
    "Guesses",
    "Each character in the colour of the cell; beneath it the five likeliest next ones, the redder the likelier. The one that came is underlined.",
  ],
  cell: [
    "One cell",
    "The whole text in the colour of one cell: green where it says yes, blue where it says no.",
  ],
  surprise: ["Surprise", "The redder a character, the less it was expected."],
  weave: ["All cells", "Every cell is a thread from left to right through the text. Click one."],
};

export function create({ go }) {
  let models = [];
  let model = null;
  let found = null;
  let text = "";
  let isOwnText = false;
  let isChosen = false;
  let seen = null;
  let chars = [];
  let cell = { layer: 0, cell: 0 };
  let mode = "guesses";
  let looking = null;
  let asking = null;
  const activations = new Map();
  let context = [];

  // Controls

  const choice = select([], {
    name: "model",
    on: {
      change: () => {
        isChosen = false;
        choose(choice.value);
      },
    },
  });
  const layer = select([], {
    name: "layer",
    on: {
      change: () => pick({ layer: Number(layer.value), cell: Math.min(cell.cell, cells() - 1) }),
    },
  });
  const cellNumber = el("input", {
    name: "cell",
    type: "number",
    min: "0",
    value: "0",
    on: {
      input: () =>
        cellNumber.validity.valid &&
        cellNumber.value &&
        pick({ ...cell, cell: Number(cellNumber.value) }),
    },
  });
  const slide = el("input", {
    type: "range",
    min: "0",
    value: "0",
    "aria-label": "Cell",
    on: { input: () => pick({ ...cell, cell: Number(slide.value) }) },
  });
  const hypotheses = el("ol", { class: "hypotheses" });
  const share = el("p", { class: "hint" });
  const searching = message();
  const said = message();

  const own = el("textarea", {
    name: "text",
    rows: "8",
    maxlength: MAX_TEXT,
    spellcheck: "false",
    placeholder: "Paste up to 20,000 characters",
  });
  const ownForm = el(
    "form",
    {
      on: {
        submit: (event) => {
          event.preventDefault();
          isOwnText = true;
          read(own.value);
        },
      },
    },
    field("Text", own),
    el("div", { class: "actions" }, el("button", { class: "primary" }, "Look at it")),
  );
  const another = el(
    "details",
    { class: "another" },
    el("summary", {}, "A text of your own"),
    ownForm,
  );
  const written = el(
    "button",
    {
      type: "button",
      class: "quiet",
      on: { click: () => write(Math.floor(Math.random() * DRAWN_SEEDS)) },
    },
    "Let it write one",
  );
  const heldOut = el(
    "button",
    {
      type: "button",
      class: "quiet",
      hidden: true,
      on: {
        click: () => {
          isOwnText = false;
          held();
        },
      },
    },
    "Held-out text",
  );

  const modes = el(
    "div",
    { class: "segments", role: "radiogroup", "aria-label": "Picture" },
    ...Object.entries(MODES).map(([name, [label]]) =>
      el(
        "label",
        {},
        el("input", {
          type: "radio",
          name: "picture",
          value: name,
          checked: name === mode,
          on: {
            change: () => {
              mode = name;
              draw();
              remember();
            },
          },
        }),
        el("span", {}, label),
      ),
    ),
  );
  const about = el("p", { class: "hint" });
  const legend = el("p", { class: "scale" });
  const readout = el("p", { class: "readout", "aria-hidden": "true" });
  const picture = grid({ label: "The text as the network sees it", pointed });
  const weave = el("canvas", {
    class: "weave",
    hidden: true,
    role: "img",
    "aria-label": "All cells of the layer over the text",
  });
  const frame = el("div", { class: "card picture" }, readout, picture.root, weave);
  const whole = el("p", { class: "facts" });

  const root = el(
    "div",
    { class: "view" },
    heading(
      "Inside a network",
      "Some cells follow something that has a name: whether a quote is open, how long a line is, how deep the brackets are. Most keep their secret.",
    ),
    el(
      "div",
      { class: "write inside" },
      el(
        "div",
        { class: "inside-page" },
        el("div", { class: "inside-head" }, modes, legend),
        about,
        said.place,
        frame,
        el(
          "div",
          { class: "inside-head" },
          whole,
          el("div", { class: "actions" }, heldOut, written),
        ),
        another,
      ),
      el(
        "div",
        { class: "rail", role: "group", "aria-label": "Which cell" },
        field("Model", choice),
        el("div", { class: "pair" }, field("Layer", layer), field("Cell", cellNumber)),
        slide,
        el(
          "section",
          { "aria-labelledby": "found-title" },
          el("h2", { id: "found-title" }, "Cells that follow something"),
          share,
          searching.place,
          hypotheses,
        ),
      ),
    ),
  );

  const cells = () => model?.config.hidden_size ?? 1;
  const address = () => `/models/${encodeURIComponent(model.model)}`;

  // A model

  async function choose(name) {
    model = models.find((one) => one.model === name) ?? models[0];
    if (!model) return;
    choice.value = model.model;
    const { num_layers: layers, hidden_size: size } = model.config;
    layer.replaceChildren(
      ...Array.from(
        { length: layers },
        (_, i) => new Option(`${i}${i === layers - 1 && i ? ", the last" : ""}`, i),
      ),
    );
    for (const control of [cellNumber, slide]) control.max = size - 1;
    cell = { layer: Math.min(cell.layer, layers - 1), cell: Math.min(cell.cell, size - 1) };
    showCell();
    found = null;
    hypotheses.replaceChildren();
    share.textContent = "";
    said.clear();
    asking?.abort();
    const { signal } = (asking = new AbortController());
    if (isOwnText) read(text);
    else picture.update({ chars: (chars = []), paint: () => null, below: null });
    heldOut.hidden = true;
    // What takes its time is not waited for: there is something to look at meanwhile.
    let isShown = isOwnText;
    const waiting = () => {
      searching.say(
        "Looking through the cells. This is done once for each model and takes some seconds …",
      );
      if (!isShown) write(WRITTEN.seed);
      isShown = true;
    };
    try {
      found = await whenReady(`${address()}/cells`, { signal, waiting });
      searching.clear();
      if (!isChosen) cell = best() ?? cell;
      showFound();
      if (!isShown) held();
      else turnTo(cell);
    } catch (error) {
      if (wasAborted(error)) return;
      searching.say(error.message, "problem");
    }
  }

  /** The cell that follows anything best, to begin with. */
  function best() {
    const all = found.hypotheses.flatMap((one) =>
      one.cells.map((candidate) => ({ ...candidate, strength: strengthOf(one, candidate) })),
    );
    const [first] = all.sort((a, b) => b.strength - a.strength);
    return first && { layer: first.layer, cell: first.cell };
  }

  /** The model's held-out text: the places where what was looked for shows, one after the other. */
  function held() {
    const excerpts = excerptsOf(found);
    if (!excerpts.size) return write(WRITTEN.seed);
    const starts = new Map();
    let start = 0;
    for (const excerpt of excerpts) {
      starts.set(excerpt, start);
      start += [...excerpt].length + 1;
    }
    const inContext = found.hypotheses
      .filter((one) => one.cells.length)
      .map(({ cells: [best_], excerpt, activations: values }) => [
        best_,
        starts.get(excerpt),
        values,
      ]);
    return read([...excerpts].join("\n"), inContext);
  }

  const excerptsOf = ({ hypotheses: all }) =>
    new Set(
      all
        .filter((one) => one.cells.length)
        .map((one) => one.excerpt)
        .filter(Boolean),
    );

  /** Brings the place to sight that shows a hypothesis, where the text has it. */
  function reveal({ excerpt }) {
    const at = excerpt ? chars.join("").indexOf(excerpt) : -1;
    if (at >= 0) picture.reveal([...chars.join("").slice(0, at)].length);
  }

  async function write(seed) {
    looking?.abort();
    const { signal } = (looking = new AbortController());
    said.say("It writes …");
    try {
      const { text: its } = await post(
        "/sample",
        { ...WRITTEN, model: model.model, seed },
        { signal },
      );
      isOwnText = false;
      await read(its);
    } catch (error) {
      if (!wasAborted(error)) said.say(error.message, "problem");
    }
  }

  function showFound() {
    const { hypotheses: all } = found;
    heldOut.hidden = !excerptsOf(found).size;
    share.textContent = found.share
      ? `${percent(found.share)} of all cells do. The score says how well: 1 is always right.`
      : "";
    hypotheses.replaceChildren(
      ...all
        .filter((one) => one.cells.length)
        .map((one) =>
          el(
            "li",
            {},
            el("p", {}, one.title),
            el(
              "div",
              { class: "chips" },
              ...one.cells.slice(0, SHOWN).map((candidate) => chip(one, candidate)),
            ),
          ),
        ),
    );
    if (!hypotheses.children.length)
      share.textContent =
        "No text that it was not trained on came with this model, or nothing was found in it. Move through the cells above.";
    showCell();
  }

  /** What the cell that is shown tracks, in words; null if that is its secret. */
  function followed() {
    const all = (found?.hypotheses ?? []).flatMap(({ title, cells: best }) =>
      best
        .filter((one) => one.layer === cell.layer && one.cell === cell.cell)
        .map(({ sign }) => `“${title}”${sign < 0 ? ", by saying no" : ""}`),
    );
    return all.length ? and.format(all) : null;
  }

  function chip(hypothesis, candidate) {
    const button = el(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": "false",
        data: { cell: `${candidate.layer}:${candidate.cell}` },
        "aria-label": `${hypothesis.title}: layer ${candidate.layer}, cell ${candidate.cell}, score ${hundredths(candidate.score)}`,
        on: {
          click: () => {
            pick(candidate);
            reveal(hypothesis);
            if (NARROW.matches) frame.scrollIntoView({ block: "nearest" });
          },
        },
      },
      el("span", {}, `${candidate.layer}·${candidate.cell}`),
      el("span", { class: "score" }, hundredths(candidate.score)),
    );
    button.style.setProperty("--share", strengthOf(hypothesis, candidate));
    return button;
  }

  // A text

  /**
   * `inContext` are stretches of the text, each with what a cell showed there where it came from:
   * here, read from nothing, a cell can't know that a quote was open before.
   */
  async function read(wanted, inContext = []) {
    text = wanted.slice(0, MAX_TEXT);
    context = inContext;
    clearErrors(ownForm);
    if (!text || !model) return;
    if (own.value !== text) own.value = text;
    activations.clear();
    fetching?.controller.abort();
    seen = null;
    said.clear();
    looking?.abort();
    const { signal } = (looking = new AbortController());
    frame.setAttribute("aria-busy", "true");
    try {
      const { layer: ofLayer, cell: number_ } = cell;
      const numbers = around(ofLayer, number_);
      const answer = await ask({ top: 5, cells: numbers, layer: ofLayer }, signal);
      // What is left out would shift the rest.
      if (answer.unknown) context = [];
      seen = answer;
      chars = answer.characters.map(({ char }) => char);
      keep(ofLayer, numbers, answer);
      whole.textContent = `${count(chars.length, "character")}, ${loss(answer.bpc)} bpc`;
      if (answer.unknown)
        said.say(`${count(answer.unknown, "character")} left out that this model does not know.`);
      frame.removeAttribute("aria-busy");
      turnTo(cell);
      await readAhead(signal);
    } catch (error) {
      if (wasAborted(error)) return;
      if (!showErrors(ownForm, error)) said.say(error.message, "problem");
    } finally {
      if (!signal.aborted && !fetching) frame.removeAttribute("aria-busy");
    }
  }

  const ask = (more, signal, of = text) =>
    post(`${address()}/inspect`, { text: of, unknown: "skip", ...more }, { signal });

  /** A cell and its neighbours, and those of its layer that follow something: a click away. */
  function around(ofLayer, number_) {
    const first = number_ - (number_ % BLOCK);
    const next = Array.from({ length: Math.min(BLOCK, cells() - first) }, (_, i) => first + i);
    return unread(ofLayer, [...next, ...named(ofLayer)]);
  }

  function named(ofLayer) {
    const offered = (found?.hypotheses ?? []).flatMap((one) => one.cells.slice(0, SHOWN));
    return offered.filter((one) => one.layer === ofLayer).map((one) => one.cell);
  }

  const unread = (ofLayer, numbers) =>
    [...new Set(numbers)]
      .filter((one) => !activations.has(`${ofLayer}:${one}`))
      .slice(0, Math.floor(MAX_VALUES / text.length));

  /** What the ranking offers in other layers, before somebody asks for it. */
  async function readAhead(signal) {
    for (let ofLayer = 0; ofLayer < model.config.num_layers; ofLayer++) {
      const numbers = unread(ofLayer, named(ofLayer));
      if (!numbers.length) continue;
      keep(ofLayer, numbers, await ask({ top: 0, cells: numbers, layer: ofLayer }, signal));
      if (cell.layer === ofLayer && numbers.includes(cell.cell)) draw();
    }
  }

  function keep(ofLayer, numbers, answer) {
    numbers.forEach((number_, i) => {
      activations.set(
        `${ofLayer}:${number_}`,
        Float32Array.from(answer.characters, ({ activations: values }) => values[i]),
      );
    });
    for (const [{ layer: itsLayer, cell: itsNumber }, start, values] of context) {
      if (itsLayer === ofLayer && numbers.includes(itsNumber))
        activations.get(`${ofLayer}:${itsNumber}`).set(values, start);
    }
  }

  // A cell

  let fetching = null;

  /** What somebody does, as opposed to what is shown to begin with. */
  function pick(wanted) {
    isChosen = true;
    if (mode === "surprise" || mode === "weave") {
      mode = "cell";
      modes.querySelector("[value=cell]").checked = true;
    }
    turnTo(wanted);
    remember();
  }

  async function turnTo({ layer: ofLayer, cell: number_ }) {
    cell = { layer: ofLayer, cell: number_ };
    showCell();
    draw();
    if (!seen || activations.has(`${ofLayer}:${number_}`)) return;
    if (fetching?.layer === ofLayer && fetching.numbers.includes(number_)) return;
    fetching?.controller.abort();
    const controller = new AbortController();
    const numbers = around(ofLayer, number_);
    fetching = { layer: ofLayer, numbers, controller };
    const of = seen;
    frame.setAttribute("aria-busy", "true");
    try {
      const answer = await ask({ top: 0, cells: numbers, layer: ofLayer }, controller.signal);
      if (of === seen) keep(ofLayer, numbers, answer);
      draw();
    } catch (error) {
      if (!wasAborted(error)) said.say(error.message, "problem");
    } finally {
      if (fetching?.controller === controller) {
        fetching = null;
        frame.removeAttribute("aria-busy");
      }
    }
  }

  function showCell() {
    pointed(null);
    layer.value = cell.layer;
    if (document.activeElement !== cellNumber) cellNumber.value = cell.cell;
    slide.value = cell.cell;
    for (const button of hypotheses.querySelectorAll(".chip"))
      button.setAttribute(
        "aria-pressed",
        String(button.dataset.cell === `${cell.layer}:${cell.cell}`),
      );
  }

  // Pictures

  function draw() {
    about.textContent = MODES[mode][1];
    legend.replaceChildren(
      ...(mode === "surprise"
        ? ["expected", el("span", { class: "ramp surprise" }), "a surprise"]
        : ["no", el("span", { class: "ramp" }), "yes"]),
    );
    weave.hidden = mode !== "weave";
    picture.root.hidden = mode === "weave";
    if (!seen) return;
    if (mode === "weave") return drawWeave();
    const values = activations.get(`${cell.layer}:${cell.cell}`);
    const byCell = (i) =>
      values && [values[i] > 0 ? "--yes" : "--no", Math.min(1, Math.abs(values[i]))];
    const bySurprise = (i) => ["--guess", Math.min(1, seen.characters[i].loss / 6)];
    const below = (i) =>
      seen.characters[i].top.map(([char, p]) => [char, p, char === chars[i + 1]]);
    picture.update({
      chars,
      paint: mode === "surprise" ? bySurprise : byCell,
      below: mode === "guesses" ? below : null,
    });
  }

  function pointed(index) {
    if (index === null || !seen || !model) {
      const follows = followed();
      readout.replaceChildren(
        el(
          "span",
          {},
          `Layer ${cell.layer}, cell ${cell.cell}`,
          el(
            "span",
            { class: "soft" },
            follows ? ` follows ${follows}.` : ". Point at a character.",
          ),
        ),
      );
      return "";
    }
    const { char, probability, loss: surprise } = seen.characters[index];
    const value = activations.get(`${cell.layer}:${cell.cell}`)?.[index];
    const words = `${percent(probability)} likely, ${loss(surprise)} nats${value === undefined ? "" : `, the cell says ${hundredths(value)}`}`;
    readout.replaceChildren(el("strong", {}, glyph(char)), ` ${words}`);
    return words;
  }

  // The weave: all cells of a layer, a line of pixels each

  let woven = null;
  let weaving = null;

  async function drawWeave() {
    const key = seen;
    if (woven?.of !== key || woven.layer !== cell.layer) {
      weaving?.abort();
      const { signal } = (weaving = new AbortController());
      said.say("Laying out the threads …");
      try {
        const start = chars.slice(0, Math.min(WEAVE, Math.floor(MAX_VALUES / cells()))).join("");
        const answer = await ask(
          { top: 0, cells: Array.from({ length: cells() }, (_, i) => i), layer: cell.layer },
          signal,
          start,
        );
        woven = {
          of: key,
          layer: cell.layer,
          values: answer.characters.map(({ activations: values }) => values),
        };
        said.clear();
      } catch (error) {
        if (!wasAborted(error)) said.say(error.message, "problem");
        return;
      }
      if (mode !== "weave" || seen !== key) return;
    }
    const rows = cells();
    const columns = woven.values.length;
    weave.width = columns;
    weave.height = rows;
    weave.style.aspectRatio = `${columns} / ${Math.min(rows * 3, Math.max(rows, columns * 0.55))}`;
    const context = weave.getContext("2d");
    const image = context.createImageData(columns, rows);
    const yes = channels("--yes");
    const no = channels("--no");
    for (let x = 0; x < columns; x++) {
      for (let y = 0; y < rows; y++) {
        const value = woven.values[x][y];
        const [red, green, blue] = value > 0 ? yes : no;
        image.data.set(
          [red, green, blue, Math.min(255, 215 * Math.abs(value))],
          4 * (y * columns + x),
        );
      }
    }
    context.putImageData(image, 0, 0);
  }

  const weaveAt = (event) => {
    const box = weave.getBoundingClientRect();
    // Edges may lie between two pixels.
    const within = (size, share) => Math.max(0, Math.min(size - 1, Math.floor(share * size)));
    return {
      x: within(weave.width, (event.clientX - box.left) / box.width),
      y: within(weave.height, (event.clientY - box.top) / box.height),
    };
  };
  weave.addEventListener("pointermove", (event) => {
    if (!woven) return;
    const { x, y } = weaveAt(event);
    readout.replaceChildren(
      el("strong", {}, glyph(chars[x])),
      ` cell ${y} says ${hundredths(woven.values[x][y])} at character ${number(x + 1)}`,
    );
  });
  weave.addEventListener(
    "click",
    (event) => woven && pick({ layer: cell.layer, cell: weaveAt(event).y }),
  );
  addEventListener("colours", () => mode === "weave" && seen && drawWeave());

  // The address

  function remember() {
    go(
      `/inside?${new URLSearchParams({ model: model.model, layer: cell.layer, cell: cell.cell, picture: mode })}`,
      { replace: true, quietly: true },
    );
  }

  async function show(query) {
    models = await list("/models", "models");
    choice.replaceChildren(...models.map((one) => new Option(one.model)));
    if (!models.length) {
      said.say(
        "There is no model to look into yet. ",
        "note",
        el("a", { href: "/train" }, "Train one."),
      );
      return;
    }
    const isSame =
      model && models.some((one) => one.model === model.model && one.digest === model.digest);
    const wanted = query.get("model");
    const read_ = (name, otherwise) =>
      /^\d{1,5}$/.test(query.get(name) ?? "") ? Number(query.get(name)) : otherwise;
    if (isSame && (!wanted || wanted === model.model)) {
      choice.value = model.model;
      return;
    }
    cell = { layer: read_("layer", 0), cell: read_("cell", 0) };
    isChosen = query.has("cell");
    if (query.get("picture") in MODES) mode = query.get("picture");
    modes.querySelector(`[value=${mode}]`).checked = true;
    draw();
    pointed(null);
    await choose(wanted ?? model?.model ?? models[0].model);
  }

  return { root, show: (address_) => void show(address_.searchParams) };
}

/** How well a cell follows something, from 0 to 1; a cell that always says the opposite does, too. */
const strengthOf = ({ metric }, { score }) =>
  metric === "auc" ? 2 * Math.abs(score - 0.5) : Math.abs(score);

/** A colour's red, green and blue. */
function channels(name) {
  const context = el("canvas", { width: "1", height: "1" }).getContext("2d");
  context.fillStyle = colour(name);
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}
