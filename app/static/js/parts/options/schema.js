// The options of POST /train, as the server's OpenAPI describes them, in groups and with words for
// those that are known. Knows no element.

const GROUPS = [
  [
    "The network",
    {
      preset: "Preset",
      network: "Network",
      num_layers: "Layers",
      hidden_size: "Cells in a layer",
      embedding_size: "Embedding",
      dropout: "Dropout",
      init_from: "Go on from the model",
      tokens: "What is read",
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
      seed: "Seed",
    },
  ],
  [
    "When it ends",
    {
      max_seconds: "Seconds at most",
      max_epochs: "Epochs at most",
      max_steps: "Steps at most",
      patience: "Patience",
    },
  ],
  [
    "What is looked at",
    {
      validation_fraction: "Share for validation",
      evaluate_every: "Steps between evaluations",
      sample_at: "Samples at steps",
      sample_every: "And every so many steps",
      sample_prime: "Samples begin with",
      sample_temperature: "Samples' temperature",
      keep_snapshots: "Snapshots at steps",
    },
  ],
];
/** Fields that stand elsewhere on the page. */
const ELSEWHERE = new Set(["model", "corpus_id", "corpus"]);
/** A list of numbers, for which a keyboard of digits has no comma. */
const LISTS = new Set(["sample_at"]);
/** A bound from here on says nothing to a person. */
const TELLING = 1e6;

/**
 * The options as groups of fields, `{title, fields}`; those without a known name come last.
 *
 * @param {{paths: object}} openapi the document that /openapi.json serves
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
 * One option as a field: `choices` (pairs of value and text, the default as an empty value) or a
 * `placeholder`, whether it `isNumber`, and a `hint`.
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
  return [["", initial ?? "preset's"], ...others.map((value) => [value])];
}

function hintOf(description, low, high) {
  const range = low !== undefined && high < TELLING ? `${low} to ${high}` : null;
  return [description, range].filter(Boolean).join("; ") || null;
}
