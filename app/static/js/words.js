// The server's problems in words for people who know no API: by code, and by what its own words
// advise to set. In another language than the server's also by its sentences, and where none is known
// the server's own words follow. Knows no view.

import { isEnglish, t } from "./language.js";
import { englishSentence, sentence } from "./ui.js";

/** What the server's words are in another language; null until they are loaded. */
let server = null;

/** Loads them: most pages never need them. */
export async function understand() {
  if (isEnglish) return;
  try {
    server ??= await import("./server_words.js");
  } catch (error) {
    // The server's own words are better than none.
    console.warn(error);
  }
}

const OUTDATED = t(
  "The server does not know this request. It may have been updated: reload the page.",
);

const WORDS = {
  damaged_job: t("The files of this job are damaged: it can only be deleted."),
  damaged_model: t("The files of this model are damaged: delete it, and train it again."),
  invalid_key: t("The key that you entered is not valid on this server."),
  method_not_allowed: OUTDATED,
  missing_key: t("This server requires a key."),
  no_models: t("No model exists yet: train one, or import one on Models."),
  not_acceptable: OUTDATED,
  unknown_corpus: t("The server no longer has this text: choose the file again."),
  unknown_endpoint: OUTDATED,
  unknown_job: t("This job does not exist."),
  unknown_model: t(
    "This model does not exist. It may have been deleted, or have another name now: choose another one.",
  ),
  unsupported_media_type: OUTDATED,
};

/** What the server's words advise in terms of its API, and what a page has instead. */
const ADVICE = [
  [/,? or set unknown=skip/, ", or skip them"],
  [/: pass tokens=(\w+)/, ": choose $1 in the options"],
  [/ with DELETE \/\S+/, ""],
  [/: train one with POST \/train/, ": train one first"],
  [/; GET \/\S+ (?:lists|describes) .*$/, ""],
];

/**
 * A problem's words, as a sentence; `fallback` where the server gave none. In another language than
 * the server's, its own words may stand after a line end.
 */
export function inWords({ code, detail, errors } = {}, fallback = "") {
  if (WORDS[code]) return WORDS[code];
  const words = withoutApi(detail || fallback);
  // Of a request's fields, it has the names.
  const english = code === "invalid_fields" ? words.replace(NAMES, spaced) : words;
  return server ? inItsLanguage(code, english, detail ? errors : null) : sentence(english);
}

/** An error of a field, as the page has it beside that field. */
export function atField(message) {
  const words = withoutApi(message);
  return server ? (server.said(words) ?? `\n${words}`) : words;
}

function inItsLanguage(code, english, errors) {
  const known = server.said(english) ?? server.aboutFields(errors?.map(plain));
  if (known) return sentence(known);
  const { [code]: enough } = server.ENOUGH;
  return enough ?? `${server.REASONS[code] ?? server.REFUSED}\n${englishSentence(english)}`;
}

const plain = ({ field, message }) => ({ field, message: withoutApi(message) });

const NAMES = /\b[a-z]+(_[a-z]+)+\b/g;
const spaced = (name) => name.replaceAll("_", " ");

/** A text of the server's without the vocabulary of its API. */
export const withoutApi = (text) =>
  ADVICE.reduce((words, [advice, instead]) => words.replace(advice, instead), text);
