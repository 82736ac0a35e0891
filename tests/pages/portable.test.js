// The engine of portable files: the server's random numbers and hashes, its symbols, its choices.
// What networks say is in tests/models/test_portable.py.

import assert from "node:assert/strict";
import { test } from "node:test";
import { blake2b, derivedSeed, draws } from "../../app/static/portable/engine/draws.js";
import { limitsOf } from "../../app/static/portable/engine/naming.js";
import { fromBase85 } from "../../app/static/portable/engine/packed.js";
import {
  choose,
  isKnown,
  likelihoods,
  search,
  Vocabulary,
  write,
} from "../../app/static/portable/engine/writing.js";

const encoded = (text) => new TextEncoder().encode(text);

test("a seed gives the random numbers of the server", () => {
  const shown = (seed, positions) => positions.map(draws(seed));
  assert.deepEqual(shown(7, [0, 1]), [0.9153980612754822, 0.39445728063583374]);
  assert.deepEqual(shown("0", [5, 6]), [0.1462346315383911, 0.7786518931388855]);
  assert.deepEqual(
    shown(2n ** 53n - 1n, [1_000_000, 1_000_001]),
    [0.8882389068603516, 0.7087824940681458],
  );
});

test("each name has the seed that the server derives for it", () => {
  assert.equal(derivedSeed(7, 0), 7n);
  assert.equal(derivedSeed("7", 1), 2297865989351888797n);
  assert.equal(derivedSeed(String(2n ** 53n - 1n), 199), 7800848413742471209n);
});

test("texts of any length have the hashes of BLAKE2b", () => {
  const texts = ["", "Kara", "あや".repeat(50), "a".repeat(128), "a".repeat(129)];
  assert.deepEqual(
    texts.map((text) => blake2b(encoded(text))),
    [
      13020603013274838756n,
      14638729932253204008n,
      5571196855026083800n,
      15715450112455173872n,
      11070628195267207908n,
    ],
  );
});

test("base 85 leaves out what begins a tag", () => {
  assert.deepEqual([...fromBase85("(((((((((=")], [0, 0, 0, 0, 20, 0, 0, 0]);
  assert.deepEqual([...fromBase85("}~")], []);
});

test("text becomes ids, and ids text", () => {
  const letters = new Vocabulary({ tokens: "characters", symbols: ["\n", "a", "é", "😀"] });
  assert.equal(letters.asRead("\ufeffa\r\ne\u0301\r"), "a\né\n");
  assert.deepEqual(letters.encode("a😀b"), [[1], [3], null]);
  const bytes = new Vocabulary({ tokens: "bytes", symbols: [0x0a, 0x41, 0x81, 0x82, 0xe3] });
  assert.equal(bytes.asRead("A\r\n"), "A\r\n");
  assert.deepEqual(bytes.encode("Aあé"), [[1], [4, 2, 3], null]);
  assert.deepEqual(
    [1, 4].map((id) => bytes.name(id)),
    ["A", "\\xe3"],
  );
  const decode = bytes.decoder();
  assert.deepEqual([4, 2, 3, 4, 1].map(decode), ["", "", "あ", "", "\ufffdA"]);
});

test("a number picks an id by its share", () => {
  const logits = Float64Array.of(0, Math.log(3), -1000);
  assert.deepEqual(
    [0, 0.24, 0.26, 0.999999].map((draw) => choose(logits, 1, draw)),
    [0, 0, 1, 1],
  );
  // Odds of 3 to 1 become 9 to 1.
  assert.ok(Math.abs(likelihoods(logits, 0.5)[0] - 0.1) < 1e-12);
  assert.equal(choose(Float64Array.of(1, 5, 5), 0, 0.9), 1);
});

/** A reader of which a text follows, over and over, for certain. */
function certain(vocabulary, text) {
  const ids = vocabulary.encode(text).flat();
  return {
    ids: [0],
    get logits() {
      const logits = new Float64Array(vocabulary.size).fill(-1000);
      logits[ids[(this.ids.length - 1) % ids.length]] = 0;
      return logits;
    },
    read(id) {
      this.ids.push(id);
    },
  };
}

const ABC = new Vocabulary({ tokens: "characters", symbols: ["\n", "a", "b", "c"] });

function written(text, options) {
  const reader = certain(ABC, text);
  const parts = [];
  const writing = write(reader, ABC, { temperature: 1, seed: 0, length: 8, stops: [], ...options });
  let step = writing.next();
  for (; !step.done; step = writing.next()) parts.push(step.value.char);
  return [parts.join(""), step.value];
}

test("a text ends at its length, or before a stop string", () => {
  assert.deepEqual(written("abc", {}), ["abcabcab", "length"]);
  assert.deepEqual(written("abc", { stops: ["ca"] }), ["ab", "stop"]);
  assert.deepEqual(written("aab", { stops: ["ab"] }), ["a", "stop"]);
  // What may begin a stop string comes in the end.
  assert.deepEqual(written("abc", { stops: ["bcb"] }), ["abcabcab", "length"]);
  assert.deepEqual(written("abc", { length: 2, stops: ["bc"] }), ["ab", "length"]);
});

test("a character of several bytes is as likely as they are together", () => {
  const bytes = new Vocabulary({ tokens: "bytes", symbols: [0x0a, 0x41, 0x81, 0x82, 0xe3] });
  const reader = certain(bytes, "あA");
  Object.defineProperty(reader, "logits", { get: () => new Float64Array(5).fill(0) });
  const options = { temperature: 1, seed: 0, length: 20, stops: [] };
  for (const { char, probability, top } of write(reader, bytes, options)) {
    assert.ok(probability <= 0.2 + 1e-12 && top.length === 5);
    if (char === "あ") assert.ok(Math.abs(probability - 0.2 ** 3) < 1e-12);
  }
});

test("a line of the list is known, whatever white space is around it", () => {
  const hashes = Uint32Array.from(
    ["kara", "kira "].map((line) => Number(blake2b(encoded(line)) >> 32n)).sort((a, b) => a - b),
  );
  for (const line of ["kara", " kara\t", "kara\u001c", "kira", "kira "])
    assert.ok(isKnown(line, hashes), JSON.stringify(line));
  for (const line of ["karaa", "", "\ufeffkara"]) assert.ok(!isKnown(line, hashes), line);
});

const WANTED = {
  startsWith: "",
  contains: "",
  endsWith: "",
  pattern: "",
  minLength: 1,
  maxLength: 9,
};

test("limits are those of the server", () => {
  const names = ["kara", "karla", "kira", "kaa", "karin", "karolinas", "karolinasa"];
  const cases = [
    [{}, names.slice(0, 6), "", 9],
    [{ pattern: "k?r*a" }, ["kara", "karla", "kira"], "k", 9],
    [{ pattern: "ka*", startsWith: "k", contains: "r", endsWith: "a" }, ["kara", "karla"], "ka", 9],
    [{ pattern: "k??" }, ["kaa"], "k", 3],
    [{ pattern: "*a*a*", minLength: 5 }, ["karla", "karolinas"], "", 9],
  ];
  for (const [given, fitting, beginning, longest] of cases) {
    const limits = limitsOf({ ...WANTED, ...given });
    assert.deepEqual(names.filter(limits.allow), fitting);
    assert.deepEqual(
      [limits.beginning, limits.longest, limits.isPossible],
      [beginning, longest, true],
    );
  }
  for (const given of [
    { pattern: "?a*", startsWith: "kk" },
    { pattern: "??", minLength: 3 },
    { pattern: "?????", maxLength: 4 },
  ])
    assert.ok(!limitsOf({ ...WANTED, ...given }).isPossible, JSON.stringify(given));
  // At this, a matcher that backtracks would not come to an end.
  const hostile = limitsOf({ ...WANTED, maxLength: 200, pattern: `${"*a".repeat(99)}b` });
  assert.ok(!hostile.allow("a".repeat(200)));
});

test("a search ends where there can be no more names", () => {
  const fields = { ...WANTED, count: 5, temperature: 1, seed: 0 };
  const names = (text, more) => {
    const reader = certain(ABC, text);
    const begin = () => reader.ids.splice(1);
    const found = search(reader, ABC, new Uint32Array(), begin, { ...fields, ...more });
    const all = [];
    let step = found.next();
    for (; !step.done; step = found.next()) all.push(step.value?.name);
    return [all.filter(Boolean), all.length, step.value];
  };
  assert.deepEqual(names("ab\n", {}), [["ab"], 1000, false]);
  assert.deepEqual(names("ab\n", { count: 1 }), [["ab"], 1, true]);
  assert.deepEqual(names("ab\n", { temperature: 0 }), [["ab"], 1, false]);
  assert.deepEqual(names("ab\n", { maxLength: 1 }), [[], 1000, false]);
  assert.deepEqual(names("abcabc", { count: 1, maxLength: 3 }), [[], 200, false]);
  assert.deepEqual(names("ab\n", { count: 1, endsWith: "a" }), [[], 200, false]);
  assert.deepEqual(names("ab\n", { pattern: "??" }), [["ab"], 1000, false]);
  assert.deepEqual(names("ab\n", { pattern: "b?", startsWith: "a" }), [[], 0, false]);
});
