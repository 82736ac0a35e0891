// Words about the n-gram table, and about who won: the network or the n-gram model.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  comparison,
  contexts,
  contextsSentence,
  verdict,
} from "../../app/static/js/parts/ngram.js";

test("which is better is said plainly, if both are known", () => {
  assert.equal(comparison(2, 2.5), "the network is 20% better");
  assert.equal(comparison(2.5, 2), "the n-gram model is 20% better");
  assert.equal(comparison(2, 2), "the network is as good");
  for (const pair of [
    [null, 2],
    [2, null],
    [undefined, 2],
  ])
    assert.equal(comparison(...pair), "");
});

test("the verdict names the n-gram model", () => {
  const words = (...losses) => verdict(...losses)?.words;
  assert.equal(words(2, 2.5, 5), "Beats the 5-gram by 20%.");
  assert.equal(words(1.888, 2, 8), "Beats the 8-gram by 5.6%.");
  assert.equal(words(2.5, 2, 5), "Not yet: the 5-gram is 20% better.");
  assert.equal(words(2, 2), "Not yet: it is as good as the n-gram.");
  assert.deepEqual([words(null, 2), words(2, undefined)], [undefined, undefined]);
  assert.deepEqual(
    [verdict(1, 2).isBetter, verdict(2, 1).isBetter, verdict(2, 2).isBetter],
    [true, false, false],
  );
});

test("a table holds contexts of a model's symbols, and has a size", () => {
  const model = { ngram_orders: 8, table_bytes: 14_240_000 };
  assert.equal(contexts(model), "contexts of up to 8 characters");
  assert.equal(contexts({ ...model, ngram_orders: 1 }), "contexts of up to 1 character");
  assert.equal(
    contextsSentence({ ...model, corpus: { tokens: "bytes" } }),
    "Beside the network it counts contexts of up to 8 bytes, 14.2 MB.",
  );
});

test("without a table nothing is said, nor of a server that knows of none", () => {
  for (const model of [{ ngram_orders: 0, table_bytes: 0 }, {}])
    assert.deepEqual([contexts(model), contextsSentence(model)], ["", ""]);
});
