// What the server says in sentences of its own, such as notices and warnings, in the page's language.
// The server says them in English to all of its clients, with values in them: those are found again
// by the sentences that it is made of. Knows no view.

import { isEnglish, LANGUAGE, learn, t } from "./language.js";
import { el, englishSentence } from "./ui.js";

/** What is no sentence: several words that are offered, a file's name, numbers, a clause. */
const SHAPES = {
  choices: "[^ ]+(?:, [^ ]+)* or [^ ]+",
  file: "[^ ]+",
  n: "[\\d,]+",
  own: "[^ ]+",
  where: "[^.]+",
};

const PATTERNS = isEnglish ? [] : (await sentences()).map(patternOf);

async function sentences() {
  const [{ PROBLEMS }, { SENTENCES }] = await Promise.all([
    import("./reported/problems.js"),
    import("./reported/sentences.js"),
    learn(`${LANGUAGE}.server`),
  ]);
  return [...PROBLEMS, ...SENTENCES];
}

/** Places whose values are not the server's words, whatever they look like. */
const QUOTED = new Set(["characters", "command", "example", "excerpt", "model", "said", "style"]);
/** Places whose values are nothing but the server's words. */
const SAID = new Set(["bytes", "kind", "reason", "reasons", "refusal", "trouble", "way"]);

const choice = new Intl.ListFormat(LANGUAGE, { type: "disjunction" });
const isWhole = (words) => words.endsWith(t("."));
const next = (first, second) => t("{first} {second}", { first, second });
const beside = (first, second) => t("{first}; {second}", { first, second });

/** What the server puts between clauses and between sentences, and how they follow each other. */
const JOINTS = [
  ["; ", (first, second) => (isWhole(first) ? next : beside)(first, second)],
  [/(?<=[.”]) (?=[A-Z])/, next],
];

/** A text of the server's in the page's language; as it is where that is not known. */
export const reported = (text) => translated(text) ?? text;

/** The same as a child of an element; where it stays English, it is shown `inEnglish`. */
export function saying(text, inEnglish = englishSentence) {
  if (isEnglish) return inEnglish(text);
  return translated(text) ?? el("span", { lang: "en" }, inEnglish(text));
}

/** The same; null where that is not known. */
export const translated = (text) => byPattern(text) ?? byParts(text);

function byPattern(text) {
  for (const { english, pattern, places } of PATTERNS) {
    const [found, ...values] = pattern.exec(text) ?? [];
    if (found === undefined) continue;
    const stop = values.pop();
    const named = places.map((place, at) => [place, wordsOf(place, values[at])]);
    if (named.some(([, value]) => value === null)) continue;
    const said = t(english, Object.fromEntries(named));
    return stop && !isWhole(said) ? said + t(".") : said;
  }
  return null;
}

function wordsOf(place, value) {
  if (place === "choices") return choice.format(value.split(/, | or /));
  if (QUOTED.has(place)) return value;
  return SAID.has(place) ? translated(value) : reported(value);
}

function byParts(text) {
  for (const [joint, joined] of JOINTS) {
    const parts = text.split(joint);
    const words = parts.length > 1 ? parts.map(translated) : [null];
    if (!words.includes(null)) return words.reduce((first, second) => joined(first, second));
  }
  return null;
}

/** A sentence as a pattern: a group for each of its places, and one for a full stop. */
function patternOf(english) {
  const places = [];
  const parts = english.replace(/\.$/, "").split(/\{(\w+)\}/);
  const source = parts.map((part, at) => {
    if (at % 2 === 0) return part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
    places.push(part);
    return `(${SHAPES[part] ?? ".*?"})`;
  });
  return { english, pattern: new RegExp(`^${source.join("")}(\\.?)$`, "s"), places };
}
