// Where the characters of a text are in the grid, and the way between them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Layout } from "../../app/static/js/parts/grid/layout.js";

const isWide = (char) => char === "あ";
const layout = (text, columns, isPacked = false) =>
  new Layout([...text], columns, { isWide, isPacked });
const columns = (...args) => layout(...args).lines.map((line) => [line.start, ...line.columns]);

test("a line ends with the text's own line ends, or where it is full", () => {
  assert.deepEqual(columns("abc\nde\n\nfghijk", 4), [
    [0, 0, 1, 2, 3],
    [4, 0, 1, 2],
    [7, 0],
    [8, 0, 1, 2, 3],
    [12, 0, 1],
  ]);
});

test("a tab goes to the next stop, and a wide character takes two boxes", () => {
  assert.deepEqual(columns("\ta\tb", 12), [[0, 0, 4, 5, 8]]);
  assert.deepEqual(columns("aあb", 12), [[0, 0, 1, 3]]);
  // It does not fit any more: the next line has it.
  assert.deepEqual(columns("abcあ", 4), [
    [0, 0, 1, 2],
    [3, 0],
  ]);
});

test("a packed text has no line ends and no tabs", () => {
  assert.deepEqual(columns("a\n\tb\nc", 4, true), [
    [0, 0, 1, 2, 3],
    [4, 0, 1],
  ]);
});

test("each character is found where it is", () => {
  const text = layout("a\tbc\nあde", 12);
  for (let index = 0; index < text.length; index++) {
    const { line, column } = text.place(index);
    assert.equal(text.at(line, column), index);
  }
  // Any box of a wide one will do, and a little beside the last.
  assert.equal(text.at(0, 3), 1);
  assert.equal(text.at(1, 1), 5);
  assert.equal(text.at(1, 5), 7);
});

test("there is nothing beside a text", () => {
  const text = layout("abc", 12);
  for (const [line, column] of [
    [0, 5],
    [1, 0],
    [-1, 0],
    [0, -1],
  ])
    assert.equal(text.at(line, column), null, `${line}, ${column}`);
  assert.equal(layout("", 12).at(0, 0), null);
});

test("keys go through the text and stop at its ends", () => {
  const text = layout("abc\nd\nefg", 12);
  const steps = {
    ArrowRight: [0, 1, 8],
    ArrowLeft: [8, 0, 7],
    Home: [0, 0, 0],
    End: [8, 8, 8],
    ArrowDown: [null, 4, null],
    ArrowUp: [null, null, 5],
    a: [null, null, null],
  };
  for (const [key, [fromNone, fromFirst, fromLast]] of Object.entries(steps)) {
    assert.equal(text.step(key, null), fromNone, key);
    assert.equal(text.step(key, 0), fromFirst, key);
    assert.equal(text.step(key, 8), fromLast, key);
  }
  // A shorter line has no character below.
  assert.equal(text.step("ArrowDown", 2), 5);
});

test("a wide character at the end of a line has both its boxes", () => {
  const text = layout("abあ\ncあ", 4);
  assert.equal(text.place(2).boxes, 2);
  assert.equal(text.place(5).boxes, 2);
  assert.deepEqual(
    text.lines.map(({ end }) => end),
    [4, 1, 3],
  );
  assert.equal(layout("abあ", 4).place(2).boxes, 2);
});

test("a seam begins a line, in packed texts too", () => {
  const seams = new Set([2, 4]);
  const lines = (isPacked) =>
    new Layout([..."abcdef"], 12, { isWide, isPacked, seams }).lines.map(({ start }) => start);
  assert.deepEqual(lines(true), [0, 2, 4]);
  assert.deepEqual(lines(false), [0, 2, 4]);
});
