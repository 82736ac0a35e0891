// The page's language. English sentences stand in the code, and are the keys of every other
// language's file in languages/. It is loaded before any module that imports this one runs, so that
// constants can be sentences, too. Knows no element.

/** The language of the page, which the server chose: the browser's may be another one. */
export const LANGUAGE = globalThis.document?.documentElement.lang || "en";

const ENGLISH = "en";
const SENTENCES = {};

/** Whether the page is in the language of the code and of the server. */
export const isEnglish = LANGUAGE === ENGLISH;

/** Learns the sentences of a file in languages/. */
export async function learn(name) {
  try {
    const response = await fetch(new URL(`../languages/${name}.json`, import.meta.url));
    Object.assign(SENTENCES, await response.json());
  } catch (error) {
    // English is better than no page.
    console.warn(error);
  }
}

if (!isEnglish) await learn(LANGUAGE);

/** A sentence of the code in the page's language, with values in its {places}. */
export const t = (english, values = {}) => filled(inLanguage(english), values);

/**
 * A sentence that says a number, which is the value of {n}: `one` if it is 1, else `many`. Other
 * languages have it by `many`.
 */
export const counted = (n, shown, one, many, values = {}) =>
  filled(isEnglish && n === 1 ? one : inLanguage(many), { n: shown, ...values });

/** A sentence in the page's language with nodes in its {places}, as children of an element. */
export const woven = (english, nodes) =>
  inLanguage(english)
    .split(/\{(\w+)\}/)
    .map((part, at) => (at % 2 ? nodes[part] : part))
    .filter((part) => part !== "");

/** Sentences one after the other; empty ones are left out. */
export const together = (...sentences) =>
  sentences.filter(Boolean).reduce((one, two) => (one ? t("{one} {two}", { one, two }) : two), "");

/** Words of the server's in the page's language; as they are if they have no translation. */
export const inLanguage = (english) => SENTENCES[english] ?? english;

const filled = (sentence, values) =>
  sentence.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
