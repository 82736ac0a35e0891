// Every option of POST /train, as fields. Which there are and what they take is what the server's
// own OpenAPI says; here are words for those that are known, and their order.

import { get } from "../api.js";
import { el, field, select } from "../ui.js";

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
const ELSEWHERE = new Set(["model", "corpus_id", "corpus"]);

/** A place that fills itself when it is first opened; `values()` are those that were given. */
export function options() {
  const inside = el("div", { class: "option-groups" });
  const root = el("details", { class: "options" }, el("summary", {}, "Options"), inside);
  let loading = null;
  const wanted = {};

  root.addEventListener("toggle", () => root.open && load());

  const load = () =>
    (loading ??= fill().catch((error) => {
      loading = null;
      inside.replaceChildren(el("p", { class: "message problem" }, error.message));
    }));

  async function fill() {
    const { paths } = await get("/openapi.json");
    const content = paths["/train"].post.requestBody.content["application/json"];
    const properties = { ...content.schema.properties };
    const groups = GROUPS.map(([title, labels]) => {
      const controls = Object.keys(labels)
        .filter((name) => name in properties)
        .map((name) => control(name, labels[name], properties[name]));
      Object.keys(labels).forEach((name) => delete properties[name]);
      return el("fieldset", {}, el("legend", {}, title), ...controls);
    });
    const others = Object.keys(properties).filter((name) => !ELSEWHERE.has(name));
    if (others.length)
      groups.push(
        el(
          "fieldset",
          {},
          el("legend", {}, "More"),
          ...others.map((name) => control(name, name, properties[name])),
        ),
      );
    inside.replaceChildren(
      el("p", { class: "hint" }, "What you leave empty is decided by the preset."),
      ...groups,
    );
    for (const [name, value] of Object.entries(wanted)) set(name, value);
  }

  function control(name, label, schema) {
    const kinds = schema.anyOf ?? [schema];
    const find = (key) => kinds.map((kind) => kind[key]).find((value) => value !== undefined);
    const choices = find("enum");
    const input = choices
      ? select(
          [
            ["", schema.default ?? "preset's"],
            ...choices.filter((one) => one !== schema.default).map((one) => [one]),
          ],
          { name },
        )
      : el("input", {
          name,
          placeholder: placeholder(schema.default),
          autocomplete: "off",
          inputmode:
            kinds.some(({ type }) => type === "integer" || type === "number") &&
            name !== "sample_at"
              ? "decimal"
              : null,
        });
    const low = find("minimum") ?? find("exclusiveMinimum");
    const high = find("maximum");
    const range = low !== undefined && high < 1e6 ? `${low} to ${high}` : null;
    return field(label, input, {
      hint: [schema.description, range].filter(Boolean).join("; ") || null,
    });
  }

  const placeholder = (value) =>
    value === undefined || value === null || value === "" ? "" : String(value);

  function set(name, value) {
    wanted[name] = value;
    const input = inside.querySelector(`[name="${name}"]`);
    if (input) input.value = value;
  }

  function values() {
    const given = { ...wanted };
    for (const input of inside.querySelectorAll("input, select")) {
      const value = input.name === "sample_prime" ? input.value : input.value.trim();
      if (value) given[input.name] = value;
      else delete given[input.name];
    }
    return given;
  }

  return { root, values, set, load };
}
