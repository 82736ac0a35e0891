// The fields of the options of POST /train, from an OpenAPI schema.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fieldOf, groupsOf } from "../../app/static/js/parts/options/schema.js";

const optional = (schema) => ({ anyOf: [schema, { type: "null" }] });
const integer = { type: "integer", minimum: 1, maximum: 8 };

const openapi = (properties) => ({
  paths: {
    "/train": {
      post: { requestBody: { content: { "application/json": { schema: { properties } } } } },
    },
  },
});

test("a number says its range", () => {
  assert.deepEqual(fieldOf("num_layers", "Layers", optional(integer)), {
    name: "num_layers",
    label: "Layers",
    choices: null,
    placeholder: "",
    isNumber: true,
    hint: "1 to 8",
  });
});

test("a hint is the description, and the range if it says something", () => {
  const hint = (schema) => fieldOf("x", "X", schema).hint;
  assert.equal(hint({ type: "number" }), null);
  assert.equal(hint({ ...integer, description: "0 is off" }), "0 is off; 1 to 8");
  assert.equal(hint(optional({ type: "number", exclusiveMinimum: 0, maximum: 1 })), "0 to 1");
  assert.equal(hint({ type: "integer", minimum: 1, maximum: 1e9 }), null);
  assert.equal(hint({ type: "integer", maximum: 8 }), null);
});

test("a choice offers the default first, as an empty value", () => {
  const values = ["characters", "bytes", "auto"];
  const choices = fieldOf("tokens", "Tokens", { enum: values, default: "auto" }).choices;
  assert.deepEqual(choices, [["", "auto"], ["characters"], ["bytes"]]);
});

test("a choice without a default leaves it to the preset", () => {
  const choices = fieldOf("network", "Network", optional({ enum: ["lstm", "gru"] })).choices;
  assert.deepEqual(choices, [["", "from the preset"], ["lstm"], ["gru"]]);
});

test("a default is a placeholder; a list of steps is no number", () => {
  const steps = { anyOf: [{ type: "string" }, { type: "array" }], default: [100, 300] };
  const field = fieldOf("sample_at", "Samples at steps", steps);
  assert.equal(field.placeholder, "100,300");
  assert.equal(field.isNumber, false);
  assert.equal(fieldOf("sample_at", "", { anyOf: [{ type: "integer" }] }).isNumber, false);
  assert.equal(fieldOf("seed", "Seed", { type: "integer", default: 0 }).placeholder, "0");
});

test("known options come in their groups, others last, those elsewhere not at all", () => {
  const groups = groupsOf(
    openapi({
      model: { type: "string" },
      corpus_id: { type: "string" },
      novel_option: { type: "integer" },
      seed: { type: "integer" },
      num_layers: integer,
      preset: { enum: ["auto"], default: "auto" },
    }),
  );
  const names = groups.map(({ title, fields }) => [title, fields.map(({ name }) => name)]);
  assert.deepEqual(names, [
    ["The network", ["preset", "num_layers"]],
    ["How it learns", ["seed"]],
    ["When it ends", []],
    ["Evaluation and samples", []],
    ["Other options", ["novel_option"]],
  ]);
  assert.equal(groups.at(-1).fields[0].label, "novel_option");
});

test("there is no group for others where there are none", () => {
  const groups = groupsOf(openapi({ seed: { type: "integer" } }));
  assert.equal(groups.at(-1).title, "Evaluation and samples");
});
