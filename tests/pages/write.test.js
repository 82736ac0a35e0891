// Write's link and form, the words about a text, and what mends a beginning.

import assert from "node:assert/strict";
import { test } from "node:test";
import { mood } from "../../app/static/js/views/write/form.js";
import { factsOf, linkTo } from "../../app/static/js/views/write/foot.js";
import { fromHash, hashOfKept, keptIn, toHash } from "../../app/static/js/views/write/link.js";
import { mendsOf, plain } from "../../app/static/js/views/write/mending.js";
import { begun, clipped, grow, onward, textOf } from "../../app/static/js/views/write/variant.js";
import { mixOf, weightsOf } from "../../app/static/js/parts/styles.js";
import { favourite } from "../../app/static/js/views/write.js";

const settings = {
  model: "linux:best",
  style: "austen:0.7,poe:0.3",
  prime: "static int\n\tf(a + b) & 😀#",
  temperature: 0.55,
  length: 400,
  seed: "7",
  compare: 1.4,
};

test("a link gives back all that decides a text", () => {
  assert.deepEqual(fromHash(toHash(settings)), settings);
  const plain = { ...settings, style: null, prime: "", compare: null };
  assert.deepEqual(fromHash(toHash(plain)), plain);
  assert.equal(toHash(plain), "#model=linux%3Abest&temperature=0.55&length=400&seed=7");
});

test("a link that asks for nothing is none", () => {
  for (const hash of ["", "#", "#temperature=1", "#seed=7"]) assert.equal(fromHash(hash), null);
});

test("a mix is a weight for each style, and a style alone its name", () => {
  const styles = ["austen", "poe", "kafka"];
  const weights = weightsOf("austen:0.7,poe", styles);
  assert.deepEqual([...weights], Object.entries({ austen: 0.7, poe: 1, kafka: 0 }));
  assert.equal(mixOf(weights), "austen:0.7,poe:1");
  assert.equal(mixOf(weightsOf("poe:3", styles)), "poe");
  assert.equal(mixOf(weightsOf("", styles)), "");
  for (const wrong of ["x", "austen:-1", "austen:x", "austen,"])
    assert.equal(weightsOf(wrong, styles), null);
});

test("what a link leaves out is as usual", () => {
  assert.deepEqual(fromHash("#model=toy"), {
    model: "toy",
    style: null,
    prime: "",
    temperature: 0.8,
    length: 2000,
    seed: null,
    compare: null,
  });
  assert.equal(fromHash("#prime=Ka").model, null);
});

test("what makes no sense in a link is as if it were left out", () => {
  const query = "temperature=2.1&length=1000001&compare=nonsense&seed=12e3";
  const { temperature, length, compare, seed } = fromHash(`#model=toy&${query}`);
  assert.deepEqual([temperature, length, compare, seed], [0.8, 2000, 1.3, null]);
  const low = fromHash("#model=toy&temperature=-1&length=0&compare=-1&seed=-7");
  assert.deepEqual([low.temperature, low.length, low.compare, low.seed], [0.8, 2000, 1.3, null]);
});

test("bounds are within", () => {
  const { temperature, length, compare, seed } = fromHash(
    "#model=toy&temperature=0&length=1000000&compare=2&seed=999999999999999",
  );
  assert.deepEqual([temperature, length, compare, seed], [0, 1_000_000, 2, "999999999999999"]);
  assert.equal(fromHash("#model=toy&seed=9999999999999999").seed, null);
});

test("a prime keeps its end where it is too long", () => {
  const long = "😀".repeat(16_384);
  assert.equal(clipped(long), long);
  assert.equal(clipped(`a${long}`), long);
});

test("a temperature has a word", () => {
  const words = [0, 0.05, 0.4, 0.45, 0.8, 0.85, 1.1, 1.15, 1.5, 1.55, 2].map(mood);
  assert.deepEqual(
    [...new Set(words)],
    ["always the likeliest", "careful", "steady", "as it learned", "bold", "wild"],
  );
  assert.deepEqual(words.slice(3, 7), ["steady", "steady", "as it learned", "as it learned"]);
});

test("the facts say how much, how fast, and from which seed", () => {
  const facts = { characters: 1200, rate: 2400, seed: "7" };
  assert.equal(factsOf(facts), "1,200 characters · 2,400 per second · seed 7");
  // Too early to say how fast, or kept from another day.
  assert.equal(factsOf({ characters: 1, rate: null, seed: "7" }), "1 character · seed 7");
});

test("the last choice is offered first, then shakespeare, then the newest prose", () => {
  const model = (name, created_at, characters, lines) => ({
    model: name,
    created_at,
    corpus: { characters, lines },
  });
  const names = model("names", "2026-03-01", 8000, 1000);
  const old = model("old", "2026-01-01", 8000, 100);
  const prose = model("prose", "2026-02-01", 8000, 100);
  const shakespeare = model("shakespeare", "2025-01-01", 8000, 100);
  const all = [names, old, prose, shakespeare];
  assert.equal(favourite(all), shakespeare);
  assert.equal(favourite(all, "old"), old);
  assert.equal(favourite(all, "deleted"), shakespeare);
  assert.equal(favourite([names, old, prose]), prose);
  assert.equal(favourite([names]), names);
  assert.equal(favourite([]), undefined);
  const unknown = { model: "unknown", created_at: "2026-04-01", corpus: null };
  assert.equal(favourite([prose, unknown]), unknown);
});

test("a kept text has an address of its own", () => {
  assert.equal(keptIn(hashOfKept("a-1")), "a-1");
  assert.equal(keptIn(toHash(settings)), null);
  assert.equal(fromHash(hashOfKept("a-1")), null);
});

const SETTINGS = { model: "toy", style: null, prime: "Ka", temperature: 0.8, seed: "7" };

test("a link says what it holds", () => {
  const text = begun(SETTINGS);
  assert.match(linkTo(text, null).says, /as a beginning/);
  grow(text, "ren", 3);
  assert.match(linkTo(text, null).says, /this whole text/);
  assert.equal(fromHash(linkTo(text, null).hash).length, 3);
  // What is still to be written counts.
  assert.equal(fromHash(linkTo(text, null, 97).hash).length, 100);
  const wilder = begun({ ...SETTINGS, temperature: 1.4 });
  grow(wilder, "xq", 2);
  assert.equal(fromHash(linkTo(text, wilder).hash).compare, 1.4);
  assert.match(linkTo(text, wilder).says, /both texts/);
  const other = begun({ ...SETTINGS, prime: "Ma" });
  grow(other, "x", 1);
  assert.equal(fromHash(linkTo(text, other).hash).compare, null);
  assert.match(linkTo(text, other).says, /this side only/);
  const expired = onward(text);
  grow(expired, "x", 1);
  assert.equal(linkTo(expired, null).hash, null);
  assert.match(linkTo(expired, null).says, /No link can hold/);
});

test("what word processors put in has a plain form", () => {
  assert.equal(plain("‘It’s … “here” — now–then”\u00a0x\u200b"), `'It's ... "here" -- now-then" x`);
  assert.equal(plain("plain, あ"), "plain, あ");
});

test("a beginning that is too long is refused, and its end offered", async () => {
  const long = begun({ ...SETTINGS, prime: `a${"😀".repeat(16_384)}` });
  const { shown, mends } = mendsOf({ code: "too_long" }, long, null);
  assert.match(shown.errors[0].message, /16,385 characters/);
  assert.deepEqual(
    mends.map(({ label }) => label),
    ["Begin with the last 16,384 characters"],
  );
  assert.equal(textOf(await mends[0].mended()), "😀".repeat(16_384));
});

test("unknown characters are offered to be skipped, and curly ones to be made plain", async () => {
  const unknown = { code: "unknown_characters", errors: [{ field: "prime", message: "has" }] };
  const labels = (prime) =>
    mendsOf(unknown, begun({ ...SETTINGS, prime }), null).mends.map(({ label }) => label);
  assert.deepEqual(labels("あ"), ["Skip unknown characters"]);
  assert.equal(labels("’").length, 2);
  const [mend] = mendsOf(unknown, begun({ ...SETTINGS, prime: "It’s" }), null).mends;
  assert.equal(textOf(await mend.mended()), "It's");
});
