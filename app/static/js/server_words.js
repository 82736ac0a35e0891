// What the server says where it refuses something, for pages in another language: its own sentences,
// and others by the problem's code. Loaded only there. Knows no view.

import { t } from "./language.js";
import { LABELS } from "./parts/options/schema.js";
import { translated } from "./reported.js";

/** The server's words in the page's language; null where that is not known. */
export const said = translated;

/** What is said by a problem's code where its words are not known, and says all. */
export const ENOUGH = {
  body_too_slow: t("The connection is too slow: the server waited too long for what was sent."),
  corpus_deleted: t("The text of this job was deleted."),
  cross_origin: t("This server takes no changes from this page."),
  damaged_corpus: t("The files of this text are damaged: choose the file again."),
  disk_full: t("The server's disk is full, and nothing was kept."),
  head_too_large: t("This request is too long."),
  insufficient_scope: t("The key that you entered does not allow this."),
  internal_error: t("Something went wrong on the server. Its log says what."),
  invalid_state: t("This text cannot be continued any more."),
  job_ended: t("This job has ended already."),
  job_not_ended: t("This job has not ended yet."),
  lock_lost: t("The server was interrupted in the middle of this: try again."),
  model_busy: t("A checkpoint of this model is just being written: try again in a moment."),
  model_exists: t("A model has this name already: choose another one."),
  no_corpus: t("The text that this model was trained on is not on this server, or is too large."),
  no_ngram: t("This model has no n-gram model beside it."),
  not_a_network: t("This is an n-gram model: it can only write."),
  not_finite: t("The numbers of this network overflow."),
  not_ready: t("The server is not ready yet: try again in a moment."),
  out_of_time: t(
    "This took too long, and the server has stopped. Try again later, with a shorter text or a smaller model.",
  ),
  rate_limited: t("That was too often: try again in a moment."),
  server_busy: t("The server is busy: try again in a moment."),
  server_full: t("The server is writing as many texts as it can: try again in a moment."),
  shutting_down: t("The server is restarting: try again in a moment."),
  state_of_another_checkpoint: t(
    "The model has learned on since this text was written, so it cannot be continued.",
  ),
  storage_away: t("The server cannot reach its storage: try again in a moment."),
  too_many_bytes: t("You keep as many texts here as you may: delete some."),
  too_many_connections: t("You have as many requests open as you may: wait for one to end."),
  too_many_jobs: t("You have as many jobs waiting as you may: wait for one to end."),
  too_many_models: t("You keep as many models here as you may: delete some."),
  too_many_streams: t("As many texts are being written for you as may be: wait for one to end."),
  unknown_host: t("This server does not know the name that it was opened by."),
  unsupported_version: t("The server does not speak the version of HTTP that it was asked in."),
  url_too_long: t("This request is too long."),
};

/** What is said before the server's own words, which tell more. */
export const REASONS = {
  body_too_large: t("This is larger than the server takes."),
  corpus_in_use: t("A job that has not ended still needs this text."),
  idempotency_key_reused: t("This request was sent before."),
  invalid_corpus: t("This text cannot be trained on."),
  invalid_fields: t("The server does not take what was entered."),
  invalid_json: t("The server cannot read this request."),
  malformed_body: t("The server cannot read this request."),
  malformed_request: t("The server cannot read this request."),
  name_taken: t("A job is still training a model of this name."),
  not_enough_memory: t("This network does not fit into the memory."),
  not_utf8: t("This text is not UTF-8."),
  range_not_satisfiable: t("The file has changed: download it again."),
  unknown_characters: t("The model does not know some of the characters."),
  unknown_style: t("This model does not have this style."),
  wrong_parts: t("These are not the parts of the text."),
};

/** Where not even the code is known. */
export const REFUSED = t("The server refused this.");

const FIELDS = {
  ...LABELS,
  contains: t("Contains"),
  count: t("How many"),
  ends_with: t("Ends with"),
  length: t("Length"),
  max_length: t("Longest"),
  min_length: t("Shortest"),
  model: t("Model"),
  pattern: t("Pattern"),
  prime: t("Prime"),
  starts_with: t("Starts with"),
  stop: t("Stop at"),
  style: t("Style"),
  temperature: t("Temperature"),
  text: t("Text"),
};
/** Fields whose errors are sentences of their own. */
const WHOLE = new Set(["body", "corpus"]);

/** All errors of fields in one text; null where one of them is not known. */
export function aboutFields(errors = []) {
  const told = errors.map(({ field, message }) => {
    const words = said(message);
    if (words === null || WHOLE.has(field)) return words;
    return t("{field}: {words}", { field: FIELDS[field] ?? field, words });
  });
  return told.length && !told.includes(null) ? told.join(" / ") : null;
}
