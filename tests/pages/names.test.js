// Names without their page: the models offered, the HTML for other pages, the widget's stream.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { lists, snippet } from "../../app/static/js/views/names/embedding.js";

test("models of lists are offered, those with the shortest lines first", () => {
  const models = [
    { model: "book", corpus: { characters: 60_000, lines: 1000 } },
    { model: "titles", corpus: { characters: 30_000, lines: 1000 } },
    { model: "names", corpus: { characters: 7000, lines: 1000 } },
    { model: "unknown", corpus: null },
    { model: "empty", corpus: { characters: 0, lines: 0 } },
  ];
  assert.deepEqual(
    lists(models).map(({ model }) => model),
    ["names", "titles"],
  );
});

test("the HTML for another page holds the settings, whatever is in them", () => {
  const attributes = [
    ["model", "names"],
    ["starts-with", 'K"a&<'],
    ["novel", true],
  ];
  assert.equal(
    snippet("https://example.org", attributes),
    '<script type="module" src="https://example.org/widget/charloom-names.js"></script>\n' +
      '<charloom-names model="names" starts-with="K&quot;a&amp;<" novel></charloom-names>',
  );
});

// The widget is an element: it needs the class that elements extend, and a place to register.

let namesOf;

before(async () => {
  globalThis.HTMLElement = class {};
  globalThis.customElements = { get: () => true };
  ({ namesOf } = await import("../../app/static/widget/charloom-names.js"));
});

const names = (...chunks) => Array.fromAsync(namesOf(ReadableStream.from(chunks)));

test("a name is a line", async () => {
  const encoded = new TextEncoder().encode("Kara\n\nZoë\nあや");
  assert.deepEqual(await names(encoded), ["Kara", "Zoë", "あや"]);
  assert.deepEqual(await names(), []);
});

test("chunks may end anywhere", async () => {
  const encoded = new TextEncoder().encode("Kara\nZoë\nあや\n");
  for (let at = 0; at <= encoded.length; at++)
    assert.deepEqual(await names(encoded.slice(0, at), encoded.slice(at)), ["Kara", "Zoë", "あや"]);
});

test("a name comes as soon as it is complete", async () => {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const coming = namesOf(readable);
  writer.write(new TextEncoder().encode("Kara\nZo"));
  assert.deepEqual(await coming.next(), { done: false, value: "Kara" });
  writer.close();
  assert.deepEqual(await coming.next(), { done: false, value: "Zo" });
});
