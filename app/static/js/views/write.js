// Write: a model, a beginning, and the text that follows. All that decides a text is in the
// address, behind the #, which no server's log gets to see.

import { list } from "../api.js";
import { sheet } from "../parts/sheet.js";
import {
  clearErrors,
  copy,
  count,
  el,
  field,
  message,
  number,
  reducedMotion,
  select,
  showErrors,
} from "../ui.js";

const DEFAULTS = { temperature: 0.8, length: 2000, compare: null };
const MAX_PRIME = 16_384;
const DRAWN_SEEDS = 1_000_000;
const NARROW = matchMedia("(max-width: 900px)");

export function create({ go }) {
  let models = [];
  let isFirst = true;
  let asked = "";
  let seed = null;

  // Controls

  const model = select([], { name: "model" });
  const prime = el("textarea", {
    name: "prime",
    rows: "3",
    maxlength: MAX_PRIME,
    spellcheck: "false",
    autocapitalize: "off",
    placeholder: "Anything, or nothing",
  });
  const temperature = slider("temperature", DEFAULTS.temperature);
  const other = slider("other", 1.3);
  const length = el("input", {
    name: "length",
    type: "number",
    min: "1",
    max: "1000000",
    step: "1",
    value: DEFAULTS.length,
    required: true,
    inputmode: "numeric",
  });
  const seedField = el("input", {
    name: "seed",
    inputmode: "numeric",
    pattern: "[0-9]{1,15}",
    title: "up to 15 digits",
    autocomplete: "off",
    placeholder: "a new one",
  });
  const compare = el("input", { type: "checkbox", name: "compare", role: "switch" });
  const otherField = el("div", {}, temperatureField("and", other));
  const play = el("button", { class: "primary wide" }, "Write");
  const said = message();

  // On a phone folded away, so that the text is in sight.
  const more = el(
    "details",
    { class: "more" },
    el("summary", {}, "More"),
    el("label", { class: "switch" }, compare, el("span", {}, "Compare two temperatures")),
    el("div", { class: "pair" }, field("Length", length), field("Seed", seedField)),
  );
  const fold = () => (more.open = !NARROW.matches);
  NARROW.addEventListener("change", fold);
  fold();

  const form = el(
    "form",
    { class: "rail", "aria-label": "What to write", on: { submit: submitted } },
    field("Model", model),
    field("Begins with", prime, { name: "prime" }),
    temperatureField("Temperature", temperature),
    otherField,
    more,
    play,
    said.place,
  );
  otherField.hidden = true;

  function slider(name, value) {
    return el("input", { type: "range", name, min: "0", max: "2", step: "0.05", value });
  }

  function temperatureField(label, control) {
    const shown = el("output", { class: "value" });
    const show = () => {
      const value = Number(control.value);
      shown.textContent = `${value.toFixed(2)} ${mood(value)}`;
      control.setAttribute("aria-valuetext", shown.textContent);
    };
    control.addEventListener("input", show);
    control.show = show;
    show();
    return field(label, control, { side: shown, name: "temperature" });
  }

  // Sheets

  const panes = [0, 1].map((i) => {
    const title = el("h2", { class: "pane-title" });
    const pane = sheet({
      label: i ? "The other text" : "The text",
      branch,
      changed,
    });
    const root = el(
      "section",
      { class: "pane", "aria-label": i ? "The other temperature" : "Text" },
      title,
      pane.root,
    );
    return { ...pane, title, pane: root };
  });
  panes[1].pane.hidden = true;

  const facts = el("p", { class: "facts" });
  const goOn = el("button", { type: "button", class: "quiet", on: { click: goneOn } }, "Go on");
  const copyText = el(
    "button",
    { type: "button", class: "quiet", on: { click: () => copy(allText(), copyText) } },
    "Copy",
  );
  const copyLink = el(
    "button",
    { type: "button", class: "quiet", on: { click: () => copy(location.href, copyLink) } },
    "Copy link",
  );
  const foot = el(
    "div",
    { class: "foot", hidden: true },
    facts,
    el("div", { class: "actions" }, goOn, copyText, copyLink),
  );

  const empty = el(
    "div",
    { class: "empty", hidden: true },
    el("p", { class: "big" }, "There is no model yet."),
    el(
      "p",
      {},
      "Give charloom a text, and watch a network learn to write like it: the first words come within seconds.",
    ),
    el("p", {}, el("a", { class: "button primary", href: "/train" }, "Train one")),
  );
  const desk = el(
    "div",
    { class: "write" },
    el(
      "div",
      { class: "page" },
      el("div", { class: "panes" }, ...panes.map((pane) => pane.pane)),
      foot,
    ),
    form,
  );
  const root = el("div", { class: "view" }, el("h1", { class: "heard" }, "Write"), empty, desk);

  const allText = () =>
    panes
      .filter((pane) => !pane.pane.hidden)
      .map((pane) => pane.whole())
      .join("\n\n");
  const isWriting = () => panes.some((pane) => pane.state.status === "writing");

  // What is going on

  let lastFacts = "";

  function changed() {
    play.textContent = isWriting() ? "Stop" : "Write";
    play.classList.toggle("stop", isWriting());
    const [{ state }] = panes;
    foot.hidden = state.status === "empty";
    const seconds = state.seconds || 0;
    const rate =
      state.end && state.rate ? state.rate : seconds > 0.05 ? state.characters / seconds : null;
    const text = [
      count(state.characters, "character"),
      rate && `${number(rate)} a second`,
      seed !== null && `seed ${seed}`,
    ]
      .filter(Boolean)
      .join(" · ");
    if (text !== lastFacts) facts.textContent = lastFacts = text;
    goOn.hidden = isWriting() || panes.some((pane) => !pane.pane.hidden && !pane.state.end?.state);
    const problem = panes.find((pane) => pane.state.problem)?.state.problem;
    if (problem && !showErrors(form, problem)) said.say(problem.message, "problem");
  }

  function settings() {
    return {
      model: model.value,
      prime: prime.value,
      temperature: Number(temperature.value),
      length: Number(length.value),
      seed: seedField.value.trim() || null,
      compare: compare.checked ? Number(other.value) : null,
    };
  }

  function start(wanted, { replace = false } = {}) {
    clearErrors(form);
    said.clear();
    seed = wanted.seed ?? String(Math.floor(Math.random() * DRAWN_SEEDS));
    const fields = {
      model: wanted.model,
      prime: wanted.prime,
      length: wanted.length,
      seed: Number(seed),
    };
    const temperatures = [wanted.temperature, wanted.compare];
    panes.forEach((pane, i) => {
      pane.pane.hidden = temperatures[i] === null;
      pane.title.textContent = `${temperatures[i] ?? ""}`;
      pane.title.hidden = wanted.compare === null;
      if (temperatures[i] !== null) pane.write({ ...fields, temperature: temperatures[i] });
      else pane.stop();
    });
    desk.classList.toggle("comparing", wanted.compare !== null);
    const hash = toHash({ ...wanted, seed });
    asked = hash;
    if (location.hash !== hash) go(hash, { replace, quietly: true });
  }

  function submitted(event) {
    event.preventDefault();
    if (isWriting()) return panes.forEach((pane) => pane.stop());
    start(settings());
    if (NARROW.matches)
      panes[0].pane.scrollIntoView({
        block: "start",
        behavior: reducedMotion() ? "auto" : "smooth",
      });
  }

  function goneOn() {
    said.clear();
    const wanted = settings();
    const temperatures = [wanted.temperature, wanted.compare];
    panes.forEach((pane, i) => {
      if (pane.pane.hidden) return;
      pane.write(
        { model: wanted.model, length: wanted.length, temperature: temperatures[i] },
        { goOn: true },
      );
    });
  }

  function branch(text) {
    // What doesn't fit is the farthest away, which matters least to what comes next.
    const units = [...text];
    prime.value = units.length > MAX_PRIME ? units.slice(-MAX_PRIME).join("") : text;
    prime.scrollTop = prime.scrollHeight;
    start({ ...settings(), seed });
  }

  prime.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  compare.addEventListener("change", () => {
    otherField.hidden = !compare.checked;
    if (!models.length) return;
    // The same seed: what differs is the temperature's doing alone.
    start({ ...settings(), seed: settings().seed ?? seed });
  });
  for (const control of [temperature, other, model]) {
    // To see what a change does, everything else stays.
    control.addEventListener(
      "change",
      () => seed !== null && start({ ...settings(), seed: settings().seed ?? seed }),
    );
  }

  // The address

  function take(wanted) {
    if (wanted.model) {
      if (![...model.options].some((option) => option.value === wanted.model))
        model.append(new Option(wanted.model));
      model.value = wanted.model;
    }
    prime.value = wanted.prime;
    temperature.value = wanted.temperature;
    temperature.show();
    length.value = wanted.length;
    compare.checked = wanted.compare !== null;
    if (wanted.compare !== null) other.value = wanted.compare;
    other.show();
    otherField.hidden = wanted.compare === null;
  }

  async function refresh() {
    models = await list("/models", "models");
    const was = model.value;
    model.replaceChildren(...models.map(({ model: name }) => new Option(name)));
    model.value = models.some((one) => one.model === was) ? was : (favourite(models)?.model ?? "");
    empty.hidden = models.length > 0;
    desk.hidden = !models.length;
  }

  async function show(hash) {
    await refresh();
    const wanted = fromHash(hash);
    if (wanted && hash !== asked) {
      take(wanted);
      start({ ...settings(), seed: wanted.seed }, { replace: true });
    } else if (!wanted && isFirst && models.length && !reducedMotion()) {
      start(settings(), { replace: true });
    }
    isFirst = false;
  }

  return {
    root,
    show(address) {
      show(address.hash);
    },
  };
}

/** The newest that has read running text: a list of names fills no page. */
function favourite(models) {
  const isProse = ({ corpus }) => !corpus?.lines || corpus.characters / corpus.lines > 20;
  const newest = models.toSorted((a, b) => (b.created_at ?? "").localeCompare(a.created_at ?? ""));
  return newest.find(isProse) ?? newest[0];
}

function mood(temperature) {
  if (temperature === 0) return "always the likeliest";
  if (temperature < 0.45) return "careful";
  if (temperature < 0.85) return "steady";
  if (temperature <= 1.1) return "as it learned";
  if (temperature <= 1.5) return "bold";
  return "wild";
}

function toHash({ model, prime, temperature, length, seed, compare }) {
  const query = new URLSearchParams({ model, temperature, length, seed });
  if (prime) query.set("prime", prime);
  if (compare !== null) query.set("compare", compare);
  return `#${query}`;
}

/** What a link asks for; null if it asks for nothing. */
function fromHash(hash) {
  const query = new URLSearchParams(hash.slice(1));
  if (!query.has("model") && !query.has("prime")) return null;
  const read = (name, low, high, otherwise) => {
    const value = Number(query.get(name) ?? NaN);
    return value >= low && value <= high ? value : otherwise;
  };
  const seed = query.get("seed");
  return {
    model: query.get("model"),
    prime: (query.get("prime") ?? "").slice(0, 2 * MAX_PRIME),
    temperature: read("temperature", 0, 2, DEFAULTS.temperature),
    length: read("length", 1, 1_000_000, DEFAULTS.length),
    seed: seed && /^\d{1,15}$/.test(seed) ? seed : null,
    compare: query.has("compare") ? read("compare", 0, 2, 1.3) : null,
  };
}
