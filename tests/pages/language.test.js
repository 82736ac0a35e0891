// Sentences in the page's language: found by their English ones, with values and nodes.

import assert from "node:assert/strict";
import { test } from "node:test";

const SENTENCES = {
  "{model} was deleted": "{model} を削除しました",
  "{n} lines of {file}": "{file} の {n} 行",
  "Read {essay}.": "{essay}をお読みください。",
};

globalThis.document = { documentElement: { lang: "ja" } };
globalThis.fetch = async (url) => {
  assert.match(url.pathname, /\/languages\/ja\.json$/);
  return Response.json(SENTENCES);
};
const { LANGUAGE, counted, inLanguage, t, woven } = await import("../../app/static/js/language.js");

test("the language is the document's", () => {
  assert.equal(LANGUAGE, "ja");
});

test("a sentence has its values where its language wants them", () => {
  assert.equal(t("{model} was deleted", { model: "elves" }), "elves を削除しました");
  assert.equal(t("{model} was deleted", { model: "{n}" }), "{n} を削除しました");
});

test("without a translation it is English", () => {
  assert.equal(t("{n} are left", { n: 3 }), "3 are left");
  assert.equal(inLanguage("as it is"), "as it is");
});

test("a number's sentence is found by the one for many", () => {
  assert.equal(
    counted(1, "1", "{n} line of {file}", "{n} lines of {file}", { file: "a" }),
    "a の 1 行",
  );
});

test("nodes stand between words", () => {
  const essay = { node: true };
  assert.deepEqual(woven("Read {essay}.", { essay }), [essay, "をお読みください。"]);
});

test("a short number has no tenths where its language does not shorten it", async () => {
  const { short } = await import("../../app/static/js/ui.js");
  assert.deepEqual([12.34, 4594.9, 123_456].map(short), ["12.3", "4595", "12.3万"]);
});
