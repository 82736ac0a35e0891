// Numbers, times and characters as people read them, in American English.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ago,
  bytes,
  duration,
  glyph,
  hundredths,
  loss,
  number,
  percent,
  sentence,
  short,
  spoken,
} from "../../app/static/js/ui.js";

/** Compares a formatter with `[value, text]` pairs. */
const formats = (name, format, pairs) =>
  test(name, () => {
    for (const [value, text] of pairs) assert.equal(format(value), text, String(value));
  });

formats("number", number, [
  [0, "0"],
  [1234.5, "1,235"],
  [-3, "-3"],
]);
formats("hundredths", hundredths, [
  [0.5, "0.50"],
  [-0.987, "-0.99"],
]);
formats("loss", loss, [
  [1.23456, "1.235"],
  [2, "2.000"],
]);
formats("short", short, [
  [999, "999"],
  [53_600, "53.6K"],
  [2_000_000, "2M"],
]);
formats("percent", percent, [
  [0, "0%"],
  [0.000_01, "<0.1%"],
  [0.001, "0.1%"],
  [0.0572, "5.7%"],
  [0.0949, "9.5%"],
  [0.095, "10%"],
  [0.5, "50%"],
  [1, "100%"],
]);
formats("bytes", bytes, [
  [0, "0 bytes"],
  [1, "1 byte"],
  [999, "999 bytes"],
  [1000, "1 kB"],
  [1_234_567, "1.23 MB"],
  [5e12, "5,000 GB"],
]);
formats("duration", duration, [
  [0, "0 sec"],
  [59.4, "59 sec"],
  [59.6, "1 min"],
  [90, "1 min 30 sec"],
  [120, "2 min"],
  [599.7, "10 min"],
  [630, "11 min"],
  [3599, "1 hr"],
  [3900, "1 hr 5 min"],
  [47 * 3600, "47 hr"],
  [60 * 3600, "3 days"],
]);

test("an unknown number is a dash", () => {
  for (const format of [number, hundredths, loss, short, percent, bytes, duration])
    for (const value of [null, undefined, Number.NaN, Number.POSITIVE_INFINITY])
      assert.equal(format(value), "–");
});

test("ago", () => {
  const now = Date.UTC(2025, 5, 15, 12);
  const before = (seconds) => ago(new Date(now - 1000 * seconds), now);
  assert.equal(before(0), "just now");
  assert.equal(before(44), "just now");
  assert.equal(before(50), "50 seconds ago");
  assert.equal(before(60), "1 minute ago");
  assert.equal(before(2 * 3600), "2 hours ago");
  assert.equal(before(86_400), "yesterday");
  assert.equal(before(7 * 86_400), "7 days ago");
  assert.match(before(8 * 86_400), /^Jun 7, 2025/);
  assert.equal(before(-3600), "in 1 hour");
});

formats("sentence", sentence, [
  ["the queue is full", "The queue is full."],
  ["Stopped!", "Stopped!"],
  ["what now?", "What now?"],
  ["loading …", "Loading …"],
  ["unknown job (see the list)", "Unknown job (see the list)."],
  ["ångström", "Ångström."],
]);
formats("glyph", glyph, [
  ["a", "a"],
  ["\n", "⏎"],
  [" ", "␣"],
  ["\t", "⇥"],
  ["\u00a0", "⍽"],
  ["\u0007", "U+0007"],
  ["\u200b", "U+200B"],
  ["あ", "あ"],
]);
formats("spoken", spoken, [
  ["a", "a"],
  ["\n", "line end"],
  [" ", "space"],
  ["\u0007", "U+0007"],
]);
