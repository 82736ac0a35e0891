// The page of a portable file: a form, and a text or names that a worker writes. Text reaches the
// page as text nodes only. Knows no server.

/** Random seeds are below this, so that they are short. */
const DRAWN_SEEDS = 1_000_000;
/** Nats that count as a complete surprise. */
const MOST_SURPRISING = 6;
/** Characters of the longest name, unless it is said. */
const LONGEST = 40;
/** Pixels kept free at the edges of the window, and between a character and its alternatives. */
const EDGE = 8;

const $ = (id) => document.getElementById(id);
const form = $("settings");
const model = JSON.parse($("model").textContent);
const styles = model.config.styles ?? [];
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** The text so far, `primed` characters of which were given; `seed` is that of the last request. */
const state = { characters: [], primed: 0, chosen: null, seed: null, turn: 0, began: 0 };
let isWriting = false;

// The worker

const worker = new Worker(
  URL.createObjectURL(new Blob([$("engine").textContent], { type: "text/javascript" })),
);
worker.postMessage({
  kind: "open",
  model: $("model").textContent,
  weights: $("weights").textContent,
});
// The worker has its own copy.
$("weights").remove();

const answers = {
  opened() {
    $("write").disabled = false;
    start();
  },
  begun({ prime }) {
    for (const char of prime) append({ char, isGiven: true });
    state.primed = state.characters.length;
  },
  piece({ piece }) {
    for (const one of piece) "name" in one ? appendName(one) : append(one);
    tellFacts();
  },
  activations({ begin, values }) {
    values.forEach((activation, i) => {
      const character = state.characters[begin + i];
      // The text may be another one by now.
      if (character) paint(Object.assign(character, { activation }));
    });
  },
  unknown({ unknown }) {
    refuse(`The model does not know ${unknown.map(shown).join(" ")}`);
    finish();
  },
  end({ reason }) {
    finish();
    if (isOfNames() && reason === false) $("facts").textContent += " · there seem to be no more";
  },
  failed({ message }) {
    refuse(message);
    finish();
  },
};

worker.onmessage = ({ data }) => {
  if (data.turn === undefined || data.turn === state.turn) answers[data.kind](data);
};
worker.onerror = (event) => refuse(event.message || "The worker of this page cannot be started.");

// Writing

const isOfNames = () => model.lines > 0 && form.elements.way.value === "names";

function start(seed) {
  hideAlternatives();
  $("wrong").hidden = true;
  if (!form.reportValidity()) return;
  const asked = Object.fromEntries(new FormData(form));
  state.seed = seed ?? asked.seed.trim();
  if (state.seed === "") state.seed = String(Math.floor(Math.random() * DRAWN_SEEDS));
  Object.assign(state, { characters: [], primed: 0, chosen: null, began: performance.now() });
  state.turn += 1;
  isWriting = true;
  $("write").textContent = "Stop";
  $(isOfNames() ? "names" : "text").replaceChildren();
  tellFacts();
  const { style } = asked;
  const temperature = Number(asked.temperature);
  const common = { turn: state.turn, seed: state.seed, temperature, style };
  if (isOfNames()) {
    worker.postMessage({
      kind: "names",
      ...common,
      startsWith: asked.startsWith,
      pattern: asked.pattern,
      minLength: Number(asked.minLength) || 1,
      maxLength: Number(asked.maxLength) || LONGEST,
      count: Number(asked.count),
      novel: "novel" in asked,
    });
  } else {
    // A field has one line.
    const stops = asked.stop ? [asked.stop.replaceAll("\\n", "\n")] : [];
    const { prime } = asked;
    worker.postMessage({ kind: "write", ...common, prime, length: Number(asked.length), stops });
  }
}

function finish() {
  isWriting = false;
  $("write").textContent = "Write";
  tellFacts();
}

function tellFacts() {
  const count = isOfNames() ? $("names").children.length : state.characters.length - state.primed;
  const noun = isOfNames() ? "name" : "character";
  const seconds = (performance.now() - state.began) / 1000;
  const facts = [`${number.format(count)} ${noun}${count === 1 ? "" : "s"}`];
  if (!isOfNames() && count > 20) facts.push(`${number.format(count / seconds)} per second`);
  if (state.seed !== null) facts.push(`seed ${state.seed}`);
  $("facts").textContent = facts.join(" · ");
}

function refuse(message) {
  $("wrong").textContent = message;
  $("wrong").hidden = false;
}

function appendName({ name, novel }) {
  const item = document.createElement("li");
  item.textContent = name;
  item.classList.toggle("known", !novel);
  if (!novel) item.title = "one of the list";
  $("names").append(item);
}

function append(character) {
  const span = document.createElement("span");
  span.textContent = character.char;
  span.classList.toggle("prime", Boolean(character.isGiven));
  character.span = span;
  state.characters.push(character);
  $("text").append(span);
  paint(character);
}

// Colours

const colours = () => form.elements.colours.value;

function paint({ span, probability, activation = 0 }) {
  let [name, share] = ["", 0];
  if (colours() === "cell")
    [name, share] = [activation > 0 ? "excited" : "quiet", Math.abs(activation)];
  else if (colours() === "surprise" && probability !== undefined)
    [name, share] = ["guess", Math.min(1, -Math.log(probability) / MOST_SURPRISING)];
  const shade = `color-mix(in oklab, var(--${name}) ${Math.round(100 * share)}%, transparent)`;
  span.style.background = name ? shade : "";
}

function colour() {
  state.characters.forEach(paint);
}

function watch() {
  const isOfCell = colours() === "cell";
  $("cells").hidden = !isOfCell;
  $("surprise").hidden = colours() !== "surprise";
  const { layer, cell } = form.elements;
  const isValid = layer.checkValidity() && cell.checkValidity();
  const chosen = { layer: Number(layer.value) - 1, cell: Number(cell.value) };
  worker.postMessage({ kind: "watch", cell: isOfCell && isValid ? chosen : null });
  colour();
}

// Alternatives

const GLYPHS = { "\n": "⏎", " ": "␣", "\t": "⇥" };
const shown = (char) => GLYPHS[char] ?? char;
const percent = (share) => `${(100 * share).toFixed(share < 0.095 ? 1 : 0)}%`;

function choose(index) {
  state.characters[state.chosen]?.span.classList.remove("chosen");
  const character = state.characters[index];
  if (!character) {
    hideAlternatives();
    return;
  }
  state.chosen = index;
  character.span.classList.add("chosen");
  const { char, probability, top = [] } = character;
  const likely =
    probability === undefined ? "given, not written" : `${percent(probability)} likely`;
  const head = element("p", "", element("b", "", shown(char)), ` ${likely}`);
  const rows = top.map(([other, share], i) => {
    const bar = element("span", "bar");
    bar.style.setProperty("--share", share);
    const row = element("button", other === char ? "written" : "", element("kbd", "", `${i + 1}`));
    row.append(element("b", "", shown(other)), bar, element("span", "", percent(share)));
    row.type = "button";
    row.onclick = () => branch(i);
    // A byte that is not a whole character cannot be part of a prime.
    row.disabled = [...other].length > 1;
    return row;
  });
  const hint = rows.length ? [element("p", "hint", "Choose one to continue from here.")] : [];
  $("alternatives").replaceChildren(head, ...rows, ...hint);
  $("alternatives").showPopover();
  const box = character.span.getClientRects()[0] ?? $("text").getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = $("alternatives");
  const left = Math.max(EDGE, Math.min(box.left - 28, innerWidth - width - EDGE));
  const isRoomBelow = box.bottom + height + 2 * EDGE < innerHeight;
  const top_ = isRoomBelow ? box.bottom + EDGE : Math.max(EDGE, box.top - height - EDGE);
  Object.assign($("alternatives").style, { left: `${left}px`, top: `${top_}px` });
  $("heard").textContent = `${shown(char)}, ${likely}`;
}

function element(tag, kind, ...children) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.append(...children);
  return made;
}

function hideAlternatives() {
  if ($("alternatives").matches(":popover-open")) $("alternatives").hidePopover();
}

/** Writes again from the chosen character on, with an alternative in its place. */
function branch(index) {
  const other = state.characters[state.chosen]?.top?.[index]?.[0];
  if (other === undefined || [...other].length > 1) return;
  const kept = state.characters.slice(0, state.chosen).map(({ char }) => char);
  form.elements.prime.value = kept.join("") + other;
  start(state.seed);
}

// Pointing and typing

$("text").onclick = ({ target }) => {
  if (getSelection().isCollapsed) choose(state.characters.findIndex(({ span }) => span === target));
};

const MOVES = { ArrowRight: 1, ArrowLeft: -1 };

$("text").onkeydown = (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const isOpen = $("alternatives").matches(":popover-open");
  if (isOpen && /^[1-9]$/.test(event.key)) branch(Number(event.key) - 1);
  const move = MOVES[event.key];
  if (!move || !state.characters.length) return;
  event.preventDefault();
  const last = state.characters.length - 1;
  const next = isOpen ? state.chosen + move : move > 0 ? state.primed : last;
  choose(Math.max(0, Math.min(last, next)));
};

$("alternatives").ontoggle = ({ newState }) => {
  if (newState === "closed") state.characters[state.chosen]?.span.classList.remove("chosen");
};

form.onsubmit = (event) => {
  event.preventDefault();
  if (!isWriting) {
    start();
    return;
  }
  worker.postMessage({ kind: "stop" });
  state.turn += 1;
  finish();
};

form.oninput = ({ target }) => {
  if (target.name === "temperature") showTemperature();
  if (target.name === "tracks" && target.value) {
    const { layer, cell } = model.cells[target.value];
    form.elements.layer.value = layer + 1;
    form.elements.cell.value = cell;
  }
  if (["colours", "tracks", "layer", "cell"].includes(target.name)) watch();
  if (target.name === "way") {
    showWay();
    start();
  }
  if (target.name === "style") start(state.seed);
};

$("copy").onclick = async () => {
  const names = [...$("names").children].map((item) => `${item.textContent}\n`);
  const text = isOfNames() ? names : state.characters.map(({ char }) => char);
  try {
    await navigator.clipboard.writeText(text.join(""));
    $("copy").textContent = "Copied";
  } catch {
    // Some browsers give a file no clipboard: what is selected can be copied by hand.
    getSelection().selectAllChildren($(isOfNames() ? "names" : "text"));
    $("copy").textContent = "Selected";
  }
  setTimeout(() => {
    $("copy").textContent = "Copy";
  }, 1600);
};

// The beginning

function showTemperature() {
  $("degrees").textContent = Number(form.elements.temperature.value).toFixed(2);
}

function showWay() {
  $("text").hidden = isOfNames();
  $("names").hidden = !isOfNames();
  for (const one of form.querySelectorAll(".of-text")) one.hidden = isOfNames();
  for (const one of form.querySelectorAll(".of-names")) one.hidden = !isOfNames();
}

$("styles").hidden = !styles.length;
form.elements.style.append(...styles.map((style) => new Option(style)));
$("ways").hidden = !model.lines;
form.elements.way.value = model.lines ? "names" : "text";
form.elements.layer.max = model.config.num_layers;
form.elements.cell.max = model.config.hidden_size - 1;
form.elements.tracks.append(
  new Option("–", ""),
  ...model.cells.map((one, i) => new Option(one.title, i)),
);
$("tracked").hidden = !model.cells.length;
showTemperature();
showWay();
// Folded on a phone, to keep the text in sight.
form.querySelector("details").open = matchMedia("(min-width: 901px)").matches;
