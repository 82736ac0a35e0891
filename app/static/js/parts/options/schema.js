// The options of POST /train as the server's OpenAPI document describes them, grouped and labelled.
// Knows no element.

import { inLanguage, t } from "../../language.js";

const GROUPS = [
  [
    t("The network"),
    {
      preset: t("Preset"),
      network: t("Network"),
      num_layers: t("Layers"),
      hidden_size: t("Cells per layer"),
      embedding_size: t("Embedding"),
      ngram_orders: t("N-gram orders"),
      ngram_buckets: t("N-gram rows"),
      dropout: t("Dropout"),
      init_from: t("Start from model"),
      tokens: t("Read as"),
    },
  ],
  [
    t("How it learns"),
    {
      optimizer: t("Optimizer"),
      learning_rate: t("Learning rate"),
      schedule: t("Schedule"),
      batch_size: t("Batch size"),
      sequence_length: t("Sequence length"),
      grad_clip: t("Gradient clipping"),
      weight_decay: t("Weight decay"),
      ema_decay: t("Average of weights"),
      precision: t("Precision"),
      seed: t("Seed"),
      devices: t("Devices"),
    },
  ],
  [
    t("When it ends"),
    {
      max_epochs: t("Epoch limit"),
      max_steps: t("Step limit"),
      patience: t("Patience"),
    },
  ],
  [
    t("Evaluation and samples"),
    {
      validation_fraction: t("Validation share"),
      evaluate_every: t("Steps between evaluations"),
      sample_at: t("Samples at steps"),
      sample_every: t("Steps between samples"),
      sample_prime: t("Samples begin with"),
      sample_temperature: t("Sample temperature"),
      keep_snapshots: t("Snapshots at steps"),
    },
  ],
];
/** Fields that the page has elsewhere. */
const OTHERS = { max_seconds: t("Time limit (seconds)"), styles: t("Styles") };
const ELSEWHERE = new Set(["model", "corpus_id", "corpus", ...Object.keys(OTHERS)]);
/** Lists of numbers: numeric keyboards have no comma. */
const LISTS = new Set(["sample_at"]);
/** The label of each option by its name. */
export const LABELS = Object.assign({ ...OTHERS }, ...GROUPS.map(([, labels]) => labels));
/** Upper bounds from here on are not worth showing. */
const TELLING = 1e6;

/**
 * The options as groups, `{title, fields}`. Options without a label here come last.
 *
 * @param {{paths: object}} openapi the document at /openapi.json
 */
export function groupsOf(openapi) {
  const { content } = openapi.paths["/train"].post.requestBody;
  const { properties } = content["application/json"].schema;
  const fieldsOf = (labels) =>
    Object.keys(labels)
      .filter((name) => name in properties)
      .map((name) => fieldOf(name, labels[name], properties[name]));
  const groups = GROUPS.map(([title, labels]) => ({ title, fields: fieldsOf(labels) }));
  const known = new Set([...ELSEWHERE, ...GROUPS.flatMap(([, labels]) => Object.keys(labels))]);
  const others = Object.keys(properties).filter((name) => !known.has(name));
  if (!others.length) return groups;
  const fields = fieldsOf(Object.fromEntries(others.map((name) => [name, name])));
  return [...groups, { title: t("Other options"), fields }];
}

/**
 * One option as a field. `choices` are pairs of value and text, the default with an empty value;
 * null if any text is allowed.
 */
export function fieldOf(name, label, schema) {
  const kinds = schema.anyOf ?? [schema];
  const find = (key) => kinds.map((kind) => kind[key]).find((value) => value !== undefined);
  const isNumber =
    kinds.some(({ type }) => type === "integer" || type === "number") && !LISTS.has(name);
  return {
    name,
    label,
    choices: choicesOf(find("enum"), schema.default),
    placeholder: String(schema.default ?? ""),
    isNumber,
    hint: hintOf(schema.description, find("minimum") ?? find("exclusiveMinimum"), find("maximum")),
  };
}

function choicesOf(values, initial) {
  if (!values) return null;
  const others = values.filter((value) => value !== initial);
  return [["", initial ?? t("from the preset")], ...others.map((value) => [value])];
}

function hintOf(description, low, high) {
  const range = low !== undefined && high < TELLING ? t("{low} to {high}", { low, high }) : null;
  if (!description) return range;
  const about = inLanguage(description);
  return range ? t("{about}; {range}", { about, range }) : about;
}
