// What a page has of a text that is sent again is not written twice.

import assert from "node:assert/strict";
import { test } from "node:test";
import { partOf } from "../../app/static/js/parts/written.js";

test("characters are skipped, not UTF-16 units", () => {
  assert.deepEqual(partOf({ text: "a😀bc" }, 2), { text: "bc", length: 2 });
});

test("what is left of a piece has the details of its characters", () => {
  const characters = [..."a😀b"].map((char, i) => ({ char, probability: i / 4, top: [] }));
  const { text, json, length } = partOf({ text: "a😀b", characters }, 1);
  assert.deepEqual([text, length], ["😀b", 2]);
  assert.deepEqual(JSON.parse(json), { text: "😀b", characters: characters.slice(1) });
});
