// The server's problems, as people read them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { problemOf } from "../../app/static/js/api.js";
import { inWords, withoutApi } from "../../app/static/js/words.js";

const API = /\b(GET|POST|PATCH|DELETE|HEAD) \/|\b[a-z]+=\w|[a-z]_[a-z]|Bearer/;

const PROBLEMS = [
  [
    { code: "unknown_model", detail: "model not found; GET /models lists all models" },
    /^This model does not exist\./,
  ],
  [
    { code: "unknown_job", detail: "job not found; GET /jobs lists all jobs" },
    /^This job does not/,
  ],
  [
    {
      code: "missing_key",
      detail: "this endpoint needs an API key: send Authorization: Bearer KEY",
    },
    /^This server requires a key\.$/,
  ],
  [
    { code: "unknown_endpoint", detail: "nothing is at this URL; GET /openapi.json lists all" },
    /reload the page\.$/,
  ],
  [
    {
      code: "unknown_characters",
      detail: "has characters that the model does not know: 日. Remove them, or set unknown=skip",
    },
    /Remove them, or skip them\.$/,
  ],
  [
    { code: "invalid_fields", detail: "min_length must not be more than max_length" },
    /^Min length must not be more than max length\.$/,
  ],
  [
    {
      code: "too_many_models",
      detail: "you have 1,000 models: delete some with DELETE /models/{model}",
    },
    /^You have 1,000 models: delete some\.$/,
  ],
  [
    { code: "invalid_fields", detail: "x is not valid; GET /openapi.json describes it" },
    /^X is not valid\.$/,
  ],
];

test("problems are told without the words of the API", () => {
  for (const [problem, words] of PROBLEMS) {
    assert.match(inWords(problem), words);
    assert.doesNotMatch(inWords(problem), API, problem.code);
  }
});

test("whatever else the server says stays as it is", () => {
  const detail = "the corpus has 5 characters; it needs 100";
  assert.equal(
    inWords({ code: "invalid_corpus", detail }),
    "The corpus has 5 characters; it needs 100.",
  );
  assert.equal(inWords({}, "Not Found"), "Not Found.");
});

test("errors of fields are told so, too", async () => {
  const errors = [
    { field: "prime", message: "has characters 日. Remove them, or set unknown=skip" },
  ];
  const problem = await problemOf(422, JSON.stringify({ detail: "x", errors }), null);
  assert.equal(problem.errors[0].message, "has characters 日. Remove them, or skip them");
  assert.equal(withoutApi("must be a number"), "must be a number");
});
