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

// Words

/** By what is said in English; what stands in {places} stays as it is. */
const IN_JAPANESE = {
  "A cell": "セル",
  "A character-level {kind} of {layers} layer{s} of {cells} cells.":
    "文字単位の {kind}（{layers} 層、各 {cells} セル）です。",
  "A character-level {kind} of {layers} layer{s} of {cells} cells and an n-gram table.":
    "文字単位の {kind}（{layers} 層、各 {cells} セル）と n-gram の表です。",
  "About this model": "このモデルについて",
  Alternatives: "ほかの候補",
  "Anything, or nothing": "何でも、空欄でも",
  "Begins with": "書き出し",
  Cell: "セル",
  Checkpoint: "チェックポイント",
  "Choose one to continue from here.": "選ぶと、ここから続きを書きます。",
  Colours: "色",
  Copied: "コピーしました",
  Copy: "コピー",
  "Has read": "読んだテキスト",
  "How many": "個数",
  "It writes in this page: no server, no network.":
    "文章はこのページの中で書かれ、サーバーもネットワークも使いません。",
  "Its styles: {styles}": "使える文体：{styles}",
  Layer: "層",
  Length: "長さ",
  Licence: "ライセンス",
  Longest: "最長",
  Loss: "損失",
  Made: "作成",
  More: "詳細設定",
  "Move between characters with the arrow keys; choose an alternative with 1 to 5":
    "矢印キーで文字を移動し、1〜5 のキーで候補を選びます",
  Names: "名前",
  "One that tracks": "反応するもの",
  "Only names not in its list": "一覧にない名前だけ",
  Parameters: "パラメーター",
  Pattern: "パターン",
  Plain: "色なし",
  Precision: "精度",
  Seed: "シード",
  Selected: "選択しました",
  Settings: "設定",
  Shortest: "最短",
  "Starts with": "先頭の文字",
  Stop: "停止",
  "Stops at": "終わりの文字列",
  Style: "文体",
  Surprise: "意外さ",
  Temperature: "温度",
  Text: "文章",
  "The list": "一覧",
  "The model does not know {characters}": "モデルの知らない文字です：{characters}",
  "The shortest must not be longer than the longest.": "「最短」は「最長」以下にしてください。",
  "The text": "文章",
  "The worker of this page cannot be started.": "このページの処理を始められません。",
  "This page needs JavaScript.": "このページには JavaScript が必要です。",
  "Weights are rounded. {rest}":
    "重みは丸めてあります。ほとんどの確率の差はサーバーの値と 0.001 未満ですが、同じシードでも途中から別の文章になります。",
  "Weights are rounded, but {rest}":
    "重みは細かく丸めてあります。確率の差はサーバーの値と 0.0001 未満です。",
  "What it writes": "書かれた文章",
  "What to write": "書くもの",
  Write: "書く",
  "\\n is a line end": "\\n は改行です",
  any: "任意",
  anything: "何でも",
  "as expected to a surprise": "予想どおりから意外まで",
  "given, not written": "書き出しの文字",
  nothing: "なし",
  "one of the list": "一覧にある名前",
  "quiet to excited, after each character": "各文字のあとの値：低い〜高い",
  random: "毎回変える",
  "such as K?r*": "例：K?r*",
  "there seem to be no more": "これ以上はないようです",
  "up to 15 digits": "15 桁までの数字",
  "what they share": "共通の文体",
  "seed {seed}": "シード {seed}",
  "{count} character": "{count} 文字",
  "{count} characters": "{count} 文字",
  "{count} bytes": "{count} バイト",
  "{count} lines, as hashes: {rest}":
    "{count} 行をハッシュで持っています。名前が一覧にあるかどうかはわかりますが、名前そのものは入っていません。",
  "{count} name": "{count} 個の名前",
  "{count} names": "{count} 個の名前",
  "{count} per second": "毎秒 {count} 文字",
  "{date}, this file with charloom {version}": "{date}（このファイルは charloom {version} で作成）",
  "this file with charloom {version}": "このファイルは charloom {version} で作成",
  "{loss} nats per character, {bits} bits, on held-out text":
    "学習に使わなかったテキストで、1 文字あたり {loss} ナット（{bits} ビット）",
  "{parameters}; {symbols} distinct bytes": "{parameters} 個。{symbols} 種類のバイト",
  "{parameters}; {symbols} distinct characters": "{parameters} 個。{symbols} 種類の文字",
  "{share} likely": "確率 {share}",
};
const isJapanese = /^ja\b/i.test(navigator.language);
const number = new Intl.NumberFormat(isJapanese ? "ja" : "en", { maximumFractionDigits: 0 });

/** A sentence of this page in the browser's language, with values in its places. */
const said = (english, values = {}) =>
  ((isJapanese && IN_JAPANESE[english]) || english).replace(
    /\{(\w+)\}/g,
    (_, name) => values[name],
  );

/** Places with more than a word; `rest` is what Japanese has said already. */
const LONG = { rest: ".+", s: "s?", styles: ".+" };

/** A text that the file brings, or its worker, in the browser's language, if it is known there. */
function translated(text) {
  if (!isJapanese) return text;
  for (const [english, japanese] of Object.entries(IN_JAPANESE)) {
    const escaped = english.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
    const pattern = escaped.replace(
      /\{(\w+)\}/g,
      (_, name) => `(?<${name}>${LONG[name] ?? "[^ ]+"})`,
    );
    const found = new RegExp(`^${pattern}$`).exec(text);
    if (found) return japanese.replace(/\{(\w+)\}/g, (_, name) => found.groups[name]);
  }
  return text;
}

function translatePage() {
  document.documentElement.lang = "ja";
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const words = node.data.trim();
    const { parentElement: place } = node;
    if (!words || place.closest("script, [translate=no]")) continue;
    const japanese = translated(words);
    // What a model's card says, for one.
    if (japanese === words) place.lang = "en";
    node.data = node.data.replace(words, () => japanese);
  }
  for (const name of ["aria-label", "aria-description", "placeholder", "title"])
    for (const one of document.querySelectorAll(`[${name}]`))
      one.setAttribute(name, translated(one.getAttribute(name)));
}

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
    refuse(
      said("The model does not know {characters}", { characters: unknown.map(shown).join(" ") }),
    );
    finish();
  },
  end({ reason }) {
    finish();
    if (isOfNames() && reason === false)
      $("facts").textContent += ` · ${said("there seem to be no more")}`;
  },
  failed({ message }) {
    refuse(translated(message));
    finish();
  },
};

worker.onmessage = ({ data }) => {
  if (data.turn === undefined || data.turn === state.turn) answers[data.kind](data);
};
worker.onerror = (event) =>
  refuse(event.message || said("The worker of this page cannot be started."));

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
  $("write").textContent = said("Stop");
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
  $("write").textContent = said("Write");
  tellFacts();
}

function tellFacts() {
  const count = isOfNames() ? $("names").children.length : state.characters.length - state.primed;
  const [one, many] = isOfNames()
    ? ["{count} name", "{count} names"]
    : ["{count} character", "{count} characters"];
  const seconds = (performance.now() - state.began) / 1000;
  const facts = [said(count === 1 ? one : many, { count: number.format(count) })];
  if (!isOfNames() && count > 20)
    facts.push(said("{count} per second", { count: number.format(count / seconds) }));
  if (state.seed !== null) facts.push(said("seed {seed}", state));
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
  if (!novel) item.title = said("one of the list");
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
    probability === undefined
      ? said("given, not written")
      : said("{share} likely", { share: percent(probability) });
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
  const hint = rows.length ? [element("p", "hint", said("Choose one to continue from here."))] : [];
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
    $("copy").textContent = said("Copied");
  } catch {
    // Some browsers give a file no clipboard: what is selected can be copied by hand.
    getSelection().selectAllChildren($(isOfNames() ? "names" : "text"));
    $("copy").textContent = said("Selected");
  }
  setTimeout(() => {
    $("copy").textContent = said("Copy");
  }, 1600);
};

// The beginning

if (isJapanese) translatePage();

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
  ...model.cells.map((one, i) => new Option(isJapanese ? one.japanese : one.title, i)),
);
$("tracked").hidden = !model.cells.length;
showTemperature();
showWay();
// Folded on a phone, to keep the text in sight.
form.querySelector("details").open = matchMedia("(min-width: 901px)").matches;
