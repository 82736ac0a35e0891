// What the server says in English, for pages in another language: its sentences, with {places} for
// what changes, and sentences about a problem by its code. Loaded only there. Knows no view.

import { filled, inLanguage, LANGUAGE, t } from "./language.js";
import { LABELS } from "./parts/options/schema.js";

/** What the server may say of a field, or instead of one; of two that fit, the first. */
export const SAID = [
  "is missing",
  "is missing: choose one of {names}",
  "is missing: train one first",
  "is not valid",
  "is unknown",
  "is unknown; known fields are {names}",
  "is unknown; this endpoint takes no fields",
  "was sent more than once: send it once",
  "must be a whole number",
  "must be a whole number from {low} to {high}",
  "must be a whole number of at least {low}",
  "must be a whole number of at most {high}",
  "must be a whole number above {low} and at most {high}",
  "must be a whole number above {low}",
  "must be whole numbers from {low} to {high}",
  "must be a number",
  "must be a number from {low} to {high}",
  "must be a number of at least {low}",
  "must be a number of at most {high}",
  "must be a number above {low} and at most {high}",
  "must be a number above {low}",
  "must be a number, or a list of numbers",
  "must be a number, or a list of {low} to {high} numbers",
  "must be a number of devices from {low} to {high}, or all",
  "must be 0 (always the most likely character) or from {low} to {high}",
  "must be a JSON object",
  "must be a list",
  "must be a name: all tags of a model change",
  "must be the id of a corpus",
  "must be the id of a job",
  "must be the unchanged state of an earlier answer from this server",
  "must be exact: this model has no fast one",
  "must be lower-case letters, digits, '_' and '-', {most} at most, starting with a letter or digit",
  "must be name or name:tag, of lower-case letters, digits, '_' and '-' (in a tag also '.'), {most} at most each, starting with a letter or digit",
  "must be steps from 1 to {most}, at most {count} of them, as in {example}",
  "must be strings of {low} to {high} characters",
  "must be texts of at most {most} characters",
  "must be text",
  "must be text, without half a surrogate pair such as \\ud800",
  "must be true or false",
  "must be at most {count} steps: each is a model on disk",
  "must be at most {most} for a text of this length",
  "must be at most {most} with the prime for networks this large",
  "must be at most {most} with so many primes",
  "must be one of {names}, or a mix such as {example}",
  "must be one of {names}",
  "must be {own}, as in the model to continue from",
  "must be {choices}",
  "must be left out: this model was trained on one text and has no styles",
  "must have a weight above 0, as in {example}",
  "must have at least 1 item",
  "must have at least {least} items",
  "must have at most 1 item",
  "must have at most {most} items",
  "must have at most {most} characters for networks this large",
  "must have at most {most} characters",
  "must have parts of {size} bytes together, as the text has",
  "must have parts of at least {least} characters: number {number} has {own}",
  "must have parts that begin a line of the text",
  "must not be more than max_length",
  "must not be longer than max_length",
  "can only be raised: it is {own} already",
  "has been reached too: raise it as well",
  "fits no name of at most max_length characters",
  "fits no name of at least min_length characters",
  "fits no name that begins with starts_with",
  "has characters not in this model's vocabulary: {characters} and {n} more. Remove them, or skip them",
  "has characters not in this model's vocabulary: {characters}. Remove them, or skip them",
  "has characters not in this model's vocabulary: {characters} and {n} more",
  "has characters not in this model's vocabulary: {characters}",
  "has characters that the text does not have: {characters} and {n} more. Remove them",
  "has characters that the text does not have: {characters}. Remove them",
  "has no character that the model knows",
  "is damaged: delete the model and train it again",
  "names a damaged text: upload it again",
  "names {style} twice",
  "overflows: its numbers are not finite",
  "was not trained on a list: names need a corpus where 99 of 100 lines have fewer than {most} characters",
  "was trained on {own}, and the text is read as {read}: choose {own} in the options",
  "a checkpoint of {model} is just being written: try again in a moment",
  "is too large: {layers}×{cells} cells over {symbols} symbols, in batches of {batch}×{length}, need about {needed} of memory, and the machine has {had}. Choose a smaller hidden_size, batch_size or sequence_length, or fewer layers",
  "it holds no text to train on: it is empty",
  "its text is larger than {size} bytes: send less of it",
  "job {job} is still training {model}: cancel it or wait for its end",
  "job {job} still needs this corpus: cancel it or wait for its end",
  "the body is too large: this endpoint accepts at most {size}",
  "the files have more than {size} bytes, those in archives unpacked: send only some",
  "the job has not ended: cancel it first",
  "the job has not ended: it needs no resume",
  "the name {model} is taken: choose another, or delete that model first",
  "the server is writing {count} texts already, the limit: try again in a moment",
  "the text has {count} characters: send at least {least}",
  "the text has {count} bytes: send at least {least}",
  "the text has {count} distinct characters, more than {most}: it was probably read with the wrong encoding. Pass tokens=bytes to train on its bytes",
  "the text is empty: send at least {least} characters",
  "the text repeats one character, so there is nothing to learn: send a text with at least 2 distinct ones",
  "the text repeats one byte, so there is nothing to learn: send a text with at least 2 distinct ones",
  "there are more than {count} files and folders: join them to fewer first, or send only some",
  "you have {count} models already, tags and jobs to come included, the limit: delete some",
  "you would keep more than {size} bytes of corpora, the limit: delete some",
  "{count} jobs of yours wait already, the limit: wait for one",
  "{count} models are being downloaded already: try again in a moment",
];

/** What is said by a problem's code where its words are none of these, and says all. */
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

/** Words without sentences: several that are offered, and a number. */
const PLACES = { choices: "[^ ]+(?:, [^ ]+)* or [^ ]+", own: "[^ ]+", n: "[\\d,]+" };

const choice = new Intl.ListFormat(LANGUAGE, { type: "disjunction" });

const templates = SAID.map((english) => {
  const names = [];
  const parts = english.split(/\{(\w+)\}/).map((part, i) => {
    if (i % 2 === 0) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    names.push(part);
    return `(${PLACES[part] ?? ".+?"})`;
  });
  return { english, names, pattern: new RegExp(`^${parts.join("")}$`, "s") };
});

/** What the server says in the page's language; null where that is not known. */
export function said(text) {
  for (const { english, names, pattern } of templates) {
    const found = pattern.exec(text);
    if (!found) continue;
    const values = Object.fromEntries(names.map((name, i) => [name, found[i + 1]]));
    if (values.choices) values.choices = choice.format(values.choices.split(/, | or /));
    return filled(inLanguage(english), values);
  }
  return null;
}

/** All errors of fields in one text; null where one of them is not known. */
export function aboutFields(errors = []) {
  const told = errors.map(({ field, message }) => {
    const words = said(message);
    if (words === null || WHOLE.has(field)) return words;
    return t("{field}: {words}", { field: FIELDS[field] ?? field, words });
  });
  return told.length && !told.includes(null) ? told.join(" / ") : null;
}
