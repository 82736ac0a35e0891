// What the API page makes of an OpenAPI document.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anchorOf,
  curlOf,
  exampleOf,
  fieldsOf,
  parameterOf,
  sections,
  typeOf,
  urlOf,
} from "../../app/static/js/views/docs/schema.js";

const DOCUMENT = {
  paths: {
    "/models/{model}": {
      delete: { tags: ["models"] },
      get: { tags: ["models"] },
    },
    "/score": { post: { tags: ["training", "inside"] } },
  },
  components: {
    schemas: {
      Score: {
        type: "object",
        description: "A score.",
        required: ["model"],
        properties: {
          model: { type: "string", description: "The model.", examples: ["linux"] },
          loss: { anyOf: [{ type: "number" }, { type: "null" }], description: "Its loss." },
        },
      },
      Scores: {
        type: "object",
        required: ["scores"],
        properties: {
          scores: { type: "array", items: { $ref: "#/components/schemas/Score" } },
          best: { type: "string", default: "none" },
        },
      },
    },
  },
};
const SCORES = { $ref: "#/components/schemas/Scores" };

test("operations stand by their last tag, reading before deleting", () => {
  const found = sections(DOCUMENT).map(([tag, all]) => [tag, all.map(anchorOf)]);
  assert.deepEqual(found, [
    ["models", ["get-models-model", "delete-models-model"]],
    ["inside", ["post-score"]],
  ]);
});

const TYPES = [
  [{ type: "integer", minimum: 1, maximum: 1_000_000 }, "integer, 1 to 1,000,000"],
  [{ type: "integer", minimum: 0, maximum: 2 ** 63 }, "integer, 0 to 2⁶³ − 1"],
  [{ type: "number", exclusiveMinimum: 0, maximum: 1 }, "number, above 0, at most 1"],
  [{ type: "number", exclusiveMinimum: 0 }, "number, above 0"],
  [{ type: "number", minimum: 0.5 }, "number, at least 0.5"],
  [{ type: "string", maxLength: 200 }, "string, at most 200 characters"],
  [{ enum: ["exact", "fast"] }, '"exact", "fast"'],
  [{ anyOf: [{ type: "integer" }, { type: "null" }] }, "integer or null"],
  [{ type: "array", items: { type: "string" }, maxItems: 4 }, "array of string, at most 4"],
  [{ type: "array", prefixItems: [{ type: "string" }, { type: "number" }] }, "[string, number]"],
  [{ type: "string", format: "binary" }, "file"],
  [SCORES, "object"],
  [{}, "anything"],
];

test("a type is told with its bounds", () => {
  for (const [schema, words] of TYPES) assert.equal(typeOf(schema, DOCUMENT), words);
});

test("fields hold the fields of the objects in their lists", () => {
  const [scores, best] = fieldsOf(SCORES, DOCUMENT);
  assert.deepEqual(
    [scores.name, scores.isRequired, scores.type],
    ["scores", true, "array of object"],
  );
  assert.deepEqual(
    scores.fields.map(({ name, about }) => [name, about]),
    [
      ["model", "The model."],
      ["loss", "Its loss."],
    ],
  );
  assert.deepEqual([best.fallback, best.isRequired, best.fields], ["none", false, []]);
});

test("an example has what is required and what has an example", () => {
  assert.deepEqual(exampleOf(SCORES, DOCUMENT), { scores: [{ model: "linux" }] });
  assert.equal(exampleOf({ type: "integer", minimum: 3 }, DOCUMENT), 3);
  assert.deepEqual(exampleOf({ example: { a: 1 } }, DOCUMENT), { a: 1 });
  assert.equal(exampleOf({ anyOf: [{ type: "null" }, { enum: ["x"] }] }, DOCUMENT), "x");
});

test("a parameter has a control that fits it", () => {
  const given = (schema) => parameterOf({ name: "x", in: "query", schema }, DOCUMENT);
  assert.deepEqual(given({ type: "boolean", default: false }).choices, ["true", "false"]);
  assert.equal(given({ type: "boolean", default: false }).fallback, "false");
  const model = given({ anyOf: [{ type: "string", examples: ["linux"] }, { type: "null" }] });
  assert.deepEqual([model.example, model.type, model.fallback], ["linux", "string", ""]);
  assert.ok(given({ type: "array", items: { type: "string" } }).isList);
  assert.equal(given({ type: "number", default: [1] }).fallback, "1");
});

test("a call has its parameters in the path and the query", () => {
  const values = [
    [{ name: "model", place: "path" }, "linux:a/b"],
    [{ name: "stop", place: "query", isList: true }, "a,b\nc"],
    [{ name: "seed", place: "query" }, ""],
    [{ name: "last-event-id", place: "header" }, "3"],
  ];
  assert.equal(urlOf("/models/{model}/x", values), "/models/linux%3Aa%2Fb/x?stop=a%2Cb&stop=c");
  assert.equal(
    urlOf("/models/{model}", [[{ name: "model", place: "path" }, ""]]),
    "/models/%7Bmodel%7D",
  );
});

test("the line for a shell quotes what a shell would read", () => {
  const url = "http://localhost:8000/sample?model=linux&prime=a";
  assert.equal(curlOf({ method: "GET", url, isStream: true }), `curl -N '${url}'`);
  const json = [["Content-Type", "application/json"]];
  const body = `{"text": "it's"}`;
  assert.equal(
    curlOf({ method: "POST", url: "http://h/score", headers: json, body }),
    `curl http://h/score -H 'Content-Type: application/json' -d '{"text": "it'\\''s"}'`,
  );
  const text = [["Content-Type", "text/plain"]];
  assert.match(
    curlOf({ method: "POST", url, headers: text, body: "a\nb" }),
    /--data-binary 'a\nb'$/,
  );
  assert.match(curlOf({ method: "POST", url, headers: text, file: "my text" }), /'@my text'$/);
  assert.equal(curlOf({ method: "DELETE", url: "http://h/x" }), "curl -X DELETE http://h/x");
  assert.equal(curlOf({ method: "POST", url: "http://h/x" }), "curl -X POST http://h/x");
  assert.match(
    curlOf({ method: "PATCH", url, headers: json, body: "{}" }),
    /-X PATCH .* -d '\{\}'$/,
  );
});
