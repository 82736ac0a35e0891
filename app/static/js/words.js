// The server's problems in words for people who know no API: by code, and by what its own words
// advise to set. Knows no view.

import { sentence } from "./ui.js";

const OUTDATED =
  "The server does not know this request. It may have been updated: reload the page.";

const WORDS = {
  damaged_job: "The files of this job are damaged: it can only be deleted.",
  damaged_model: "The files of this model are damaged: delete it, and train it again.",
  invalid_key: "The key that you entered is not valid on this server.",
  method_not_allowed: OUTDATED,
  missing_key: "This server requires a key.",
  no_models: "No model exists yet: train one, or import one on Models.",
  not_acceptable: OUTDATED,
  unknown_corpus: "The server no longer has this text: choose the file again.",
  unknown_endpoint: OUTDATED,
  unknown_job: "This job does not exist.",
  unknown_model:
    "This model does not exist. It may have been deleted, or have another name now: choose another one.",
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

/** A problem's words, as a sentence; `fallback` where the server gave none. */
export function inWords({ code, detail } = {}, fallback = "") {
  if (WORDS[code]) return WORDS[code];
  const words = withoutApi(detail || fallback);
  // Of a request's fields, it has the names.
  return sentence(
    code === "invalid_fields" ? words.replace(/\b[a-z]+(_[a-z]+)+\b/g, spaced) : words,
  );
}

const spaced = (name) => name.replaceAll("_", " ");

/** A text of the server's without the vocabulary of its API. */
export const withoutApi = (text) =>
  ADVICE.reduce((words, [advice, instead]) => words.replace(advice, instead), text);
