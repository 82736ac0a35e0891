// Names without their page: the models offered, the address, the HTML for other pages, what is
// kept, the widget's stream.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { asCsv, asText, listed } from "../../app/static/js/views/names/kept.js";
import {
  isReachable,
  lists,
  originOf,
  settingsFor,
  snippet,
} from "../../app/static/js/views/names/origins.js";
import {
  attributesOf,
  faultsOf,
  fromQuery,
  inWords,
  toQuery,
} from "../../app/static/js/views/names/wanted.js";

test("models of lists are offered, those with the shortest lines first", () => {
  const models = [
    { model: "verse", names: false, corpus: { characters: 30_000, lines: 1000 } },
    { model: "unknown", names: true, corpus: null },
    { model: "titles", names: true, corpus: { characters: 30_000, lines: 1000 } },
    { model: "names", names: true, corpus: { characters: 7000, lines: 1000 } },
    { model: "damaged", names: true, corpus: { characters: 0, lines: 0 } },
  ];
  assert.deepEqual(
    lists(models).map(({ model }) => model),
    ["names", "titles", "unknown", "damaged"],
  );
});

test("the HTML for another page holds the settings, whatever is in them", () => {
  const attributes = [
    ["model", "names"],
    ["starts-with", 'K"a&<'],
    ["novel", true],
  ];
  assert.equal(
    snippet("https://example.org/widget/", attributes),
    '<script type="module" src="https://example.org/widget/charloom-names.js"></script>\n' +
      '<charloom-names model="names" starts-with="K&quot;a&amp;<" novel></charloom-names>',
  );
});

test("an origin is that of whatever address is typed", () => {
  const origins = {
    "example.org": "https://example.org",
    "https://Example.org:443/a?b#c": "https://example.org",
    "http://example.org:8080/x": "http://example.org:8080",
    "localhost:3000": "http://localhost:3000",
    "127.0.0.1/x": "http://127.0.0.1",
    "": null,
    "ftp://example.org": null,
    "file:///home/me/page.html": null,
    "not an address": null,
  };
  for (const [text, origin] of Object.entries(origins)) assert.equal(originOf(text), origin, text);
  assert.ok(isReachable("https://example.org/loom") && isReachable("http://192.168.0.7:8000"));
  for (const server of ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"])
    assert.ok(!isReachable(server), server);
});

test("only the settings that lack are named", () => {
  const origin = "https://example.org";
  const named = (allowed, needs_key) => settingsFor(origin, { allowed, needs_key });
  assert.deepEqual(named(true, false), []);
  assert.deepEqual(named(false, false), ["CHARLOOM_CORS_ORIGINS=https://example.org"]);
  assert.deepEqual(named(true, true), ["CHARLOOM_PUBLIC=sample"]);
  assert.equal(named(false, true).length, 2);
});

test("an address says what is wanted, and what it says wrongly is left out", () => {
  const wanted = {
    model: "names",
    starts_with: "K&",
    contains: "",
    pattern: "K?*",
    max_length: "9",
    count: "24",
    temperature: "0.8",
    novel: "false",
    seed: "7",
  };
  const query = toQuery(wanted);
  assert.equal(
    String(query),
    "model=names&starts_with=K%26&pattern=K%3F*&max_length=9&count=24&temperature=0.8&novel=false&seed=7",
  );
  const { contains: _, ...given } = wanted;
  assert.deepEqual(fromQuery(query), given);
  const wrong = "min_length=0&max_length=x&count=1001&temperature=3&novel=1&seed=-1&hidden=1";
  assert.equal(fromQuery(new URLSearchParams(wrong)), null);
  assert.deepEqual(attributesOf(wanted), [
    ["model", "names"],
    ["starts-with", "K&"],
    ["pattern", "K?*"],
    ["max-length", "9"],
    ["count", "24"],
    ["temperature", "0.8"],
  ]);
  assert.deepEqual(attributesOf({ novel: "true" }), [["novel", true]]);
});

test("what is wrong is named in the words of the form", () => {
  const fields = (wanted) => faultsOf(wanted).map(({ field }) => field);
  assert.deepEqual(fields({ min_length: "9", max_length: "6" }), ["min_length"]);
  assert.deepEqual(fields({ min_length: "0", max_length: "201", count: "?" }), [
    "min_length",
    "max_length",
    "count",
  ]);
  assert.deepEqual(fields({ min_length: "", max_length: "6", count: "" }), []);
  assert.equal(inWords("must not be more than max_length"), "must not be more than the longest");
  for (const unknown of ["'あ'", "'あ', U+200B and 3 more"]) {
    const message = `has characters not in this model's vocabulary: ${unknown}`;
    assert.equal(inWords(message), message);
  }
  assert.equal(inWords("is another"), "is another");
});

test("what is kept is saved as a table that no spreadsheet runs", () => {
  const kept = ["Kara", '=cmd|"x"', "a,b", "-1", "Zoë"].map((name) => ({
    name,
    model: "names",
    at: "2026-01-01T00:00:00.000Z",
  }));
  const rest = ",names,2026-01-01T00:00:00.000Z\r\n";
  const cells = ["Kara", `"'=cmd|""x"""`, '"a,b"', "'-1", "Zoë"];
  assert.equal(asCsv(kept), `\ufeffname,model,kept\r\n${cells.map((c) => c + rest).join("")}`);
  assert.equal(asText(kept.slice(0, 2)), 'Kara\n=cmd|"x"\n');
});

test("whatever is stored, there is a list", () => {
  const sound = { name: "Kara", model: "names", at: "2026" };
  assert.deepEqual(listed(JSON.stringify([sound, {}, null, { name: 5 }])), [sound]);
  for (const stored of [null, "", "x", "{}", "5", "null"]) assert.deepEqual(listed(stored), []);
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
