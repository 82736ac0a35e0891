// The widget's types and its documentation name the attributes that it has.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

globalThis.HTMLElement = class {};
globalThis.customElements = { define() {}, get() {} };
const { CharloomNames } = await import("../../app/static/widget/charloom-names.js");

/** Beside those that it watches: what is read when it is there. */
const ATTRIBUTES = [...CharloomNames.observedAttributes, "manual"].sort();

test("the types have every attribute, method and event", () => {
  const types = read("app/static/widget/charloom-names.d.ts");
  const [attributes] = /interface CharloomNamesAttributes \{[^}]*\}/.exec(types);
  const named = [...attributes.matchAll(/^ {2}"?([a-z-]+)"?\?: /gm)].map(([, name]) => name);
  assert.deepEqual(named.sort(), ATTRIBUTES);
  for (const method of ["draw", "stop"]) {
    assert.equal(typeof CharloomNames.prototype[method], "function");
    assert.match(types, new RegExp(`^ {2}${method}\\(\\)`, "m"));
  }
  const source = read("app/static/widget/charloom-names.js");
  const told = [...source.matchAll(/#tell\("([a-z-]+)"/g)].map(([, name]) => name);
  assert.ok(told.length >= 3);
  for (const event of told) assert.ok(types.includes(`"${event}": CustomEvent<`), event);
});

test("the documentation has every attribute, part and property of its style", () => {
  const text = read("docs/widget.md");
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(rows, ATTRIBUTES);
  const source = read("app/static/widget/charloom-names.js");
  for (const [, name] of source.matchAll(/var\((--charloom-[a-z-]+)/g))
    assert.ok(text.includes(`\`${name}\``), name);
  for (const [, name] of source.matchAll(/\.part = "([a-z]+)"/g))
    assert.ok(text.includes(`::part(${name})`), name);
});
