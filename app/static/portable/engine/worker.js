// The worker of a portable file: takes requests, one at a time, and answers in pieces, so that its
// page stays smooth. Knows no page.

import { Network, Reader } from "./network.js";
import { written } from "./naming.js";
import { unpacked } from "./packed.js";
import { search, stripped, strippedLeft, strippedRight, Vocabulary, write } from "./writing.js";

/** Milliseconds of work between two answers, and two looks at what else is asked. */
const BATCH = 40;

let model, vocabulary, network, reader, hashes;
/** The mix of styles that the reader reads in. */
let style = "";
/** The ids read up to and including each character of the text. */
let ends = [];
/** The number, in a reader's activations, of the cell that is watched; null for none. */
let watched = null;
/** How many characters' activations of that cell have been told. */
let told = 0;
/** Grows with each request: work for an earlier one stops. */
let turn = 0;
/** Resolves once the file is unpacked. */
let opening = null;

const pause = () => new Promise((resolve) => setTimeout(resolve));

async function open({ model: json, weights }) {
  model = JSON.parse(json);
  vocabulary = new Vocabulary(model.vocabulary);
  const contents = await unpacked(model, weights);
  hashes = contents.hashes;
  network = new Network(model.config, contents);
  reader = new Reader(network);
  postMessage({ kind: "opened" });
}

/** Reads in a mix of styles from now on: what was read in another is forgotten. */
function readIn(mix) {
  if (mix === style) return;
  network.readIn(sharesOf(mix));
  reader = new Reader(network);
  style = mix;
}

/** The weights of a mix such as `austen:0.7,lovecraft:0.3`. */
function sharesOf(mix) {
  const styles = model.config.styles ?? [];
  const given = new Map(mix.split(",").map((part) => part.split(":")));
  if (mix && ![...given.keys()].every((name) => styles.includes(name)))
    throw new Error(`Its styles: ${styles.join(", ") || "none"}`);
  const weights = styles.map((name) => (given.has(name) ? Number(given.get(name) ?? 1) : 0));
  const total = weights.reduce((a, b) => a + b, 0) || 1;
  return weights.map((weight) => weight / total);
}

const requests = {
  /** Writes a text after `prime` in a `style`, its length and so on as in `write`. */
  async write(asked) {
    const mine = ++turn;
    readIn(asked.style ?? "");
    [ends, told] = [[], 0];
    const prime = vocabulary.asRead(asked.prime);
    const unknown = unknownIn(prime);
    if (unknown.length) {
      postMessage({ kind: "unknown", turn: asked.turn, unknown });
      return;
    }
    postMessage({ kind: "begun", turn: asked.turn, prime });
    for (const _ of reading(prime)) {
      await pause();
      if (turn !== mine) return;
    }
    for (const ids of vocabulary.encode(prime)) ends.push((ends.at(-1) ?? 1) + ids.length);
    const options = { ...asked, stops: asked.stops.map((stop) => vocabulary.asRead(stop)) };
    await inPieces(write(reader, vocabulary, options), asked.turn, (characters) => {
      for (const { end } of characters) ends.push(end);
    });
  },

  /** Draws names, as `search` says. */
  async names(asked) {
    turn++;
    readIn(asked.style ?? "");
    [ends, told] = [[], 0];
    if (asked.minLength > asked.maxLength)
      throw new Error("The shortest must not be longer than the longest.");
    const part = (name) => vocabulary.asRead(asked[name] ?? "");
    const limits = {
      // Names begin and end with no white space.
      startsWith: strippedLeft(part("startsWith")),
      contains: part("contains"),
      endsWith: strippedRight(part("endsWith")),
      pattern: stripped(part("pattern")),
    };
    const { startsWith, contains, endsWith, pattern } = limits;
    const unknown = unknownIn(startsWith + contains + endsWith + written(pattern));
    if (unknown.length) {
      postMessage({ kind: "unknown", turn: asked.turn, unknown });
      return;
    }
    const begin = (text) => {
      for (const _ of reading(text));
    };
    const found = search(reader, vocabulary, hashes, begin, { ...asked, ...limits });
    await inPieces(found, asked.turn);
  },

  stop() {
    turn++;
  },

  /** Colours by a cell, or with null by none: tells how excited it is after each character of the text. */
  watch({ cell }) {
    told = 0;
    watched = cell && cell.layer * model.config.hidden_size + cell.cell;
    tellActivations();
  },
};

addEventListener("message", async ({ data }) => {
  try {
    if (data.kind === "open") opening = open(data);
    await opening;
    await requests[data.kind]?.(data);
  } catch (error) {
    postMessage({ kind: "failed", turn: data.turn, message: error.message });
  }
});

/** The distinct characters of a text that the model does not know. */
function unknownIn(text) {
  const ids = vocabulary.encode(text);
  return [...new Set([...text].filter((_, i) => ids[i] === null))];
}

/** Reads a text from the beginning, as far as it has not been read; yields now and then. */
function* reading(text) {
  const ids = [model.start_id, ...vocabulary.encode(text).flat()];
  let since = performance.now();
  for (let at = reader.rewind(ids); at < ids.length; at++) {
    reader.read(ids[at]);
    if (performance.now() - since < BATCH) continue;
    yield;
    since = performance.now();
  }
}

/** Sends what a generator yields, a piece at a time, until its end or the next request. */
async function inPieces(items, asked, taken = () => {}) {
  const mine = turn;
  for (let isDone = false; !isDone; ) {
    const piece = [];
    const until = performance.now() + BATCH;
    let step;
    do {
      step = items.next();
      if (!step.done && step.value) piece.push(step.value);
    } while (!step.done && performance.now() < until);
    isDone = step.done;
    taken(piece);
    if (piece.length) postMessage({ kind: "piece", turn: asked, piece });
    if (isDone) postMessage({ kind: "end", turn: asked, reason: step.value });
    if (piece.length || isDone) tellActivations();
    await pause();
    if (turn !== mine) return;
  }
}

function tellActivations() {
  if (watched === null) return;
  const values = ends.slice(told).map((end) => (reader.activations[end - 1]?.[watched] ?? 0) / 127);
  postMessage({ kind: "activations", begin: told, values });
  told = ends.length;
}
