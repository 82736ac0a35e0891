// The options of POST /train as the server's OpenAPI document describes them, grouped and labelled.
// Knows no element.

const GROUPS = [
  [
    "The network",
    {
      preset: "Preset",
      network: "Network",
      num_layers: "Layers",
      hidden_size: "Cells per layer",
      embedding_size: "Embedding",
      ngram_orders: "N-gram orders",
      ngram_buckets: "N-gram rows",
      dropout: "Dropout",
      init_from: "Start from model",
      tokens: "Read as",
    },
  ],
  [
    "How it learns",
    {
      optimizer: "Optimizer",
      learning_rate: "Learning rate",
      schedule: "Schedule",
      batch_size: "Batch size",
      sequence_length: "Sequence length",
      grad_clip: "Gradient clipping",
      weight_decay: "Weight decay",
      ema_decay: "Average of weights",
      precision: "Precision",
      seed: "Seed",
      devices: "Devices",
    },
  ],
  [
    "When it ends",
    {
      max_epochs: "Epoch limit",
      max_steps: "Step limit",
      patience: "Patience",
    },
  ],
  [
    "Evaluation and samples",
    {
      validation_fraction: "Validation share",
      evaluate_every: "Steps between evaluations",
      sample_at: "Samples at steps",
      sample_every: "Steps between samples",
      sample_prime: "Samples begin with",
      sample_temperature: "Sample temperature",
      keep_snapshots: "Snapshots at steps",
    },
  ],
];
/** Fields that the page has elsewhere. */
const OTHERS = { max_seconds: "Time limit (seconds)", styles: "Styles" };
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
  return [...groups, { title: "More", fields }];
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
  return [["", initial ?? "from the preset"], ...others.map((value) => [value])];
}

function hintOf(description, low, high) {
  const range = low !== undefined && high < TELLING ? `${low} to ${high}` : null;
  return [description, range].filter(Boolean).join("; ") || null;
}
