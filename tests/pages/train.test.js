// A text before it is trained on: its name, the texts that are here, and the doctor's report.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MODEL_NAME } from "../../app/static/js/limits.js";
import { modelNameOf, textsOf } from "../../app/static/js/views/train/corpus.js";
import { factsOf as factsOfGpu, gpusOf, troublesOf } from "../../app/static/js/views/train/gpus.js";
import { isHidden } from "../../app/static/js/views/train/files.js";
import { factsOf, inOptions, madeOf, sizesOf } from "../../app/static/js/views/train/report.js";
import { ENCODINGS, guess, textIn } from "../../app/static/js/views/train/encodings.js";
import { outlookOf } from "../../app/static/js/views/train/time.js";

test("a model is named after its file", () => {
  const names = {
    "Evil Lines.txt": "evil-lines",
    "Bücher.txt": "bu-cher",
    "war_and-peace.tar.gz": "war_and-peace-tar",
    "__init__.py": "init",
    "源氏物語.txt": "model",
    ".bashrc": "model",
    "no extension": "no-extension",
  };
  for (const [file, name] of Object.entries(names)) assert.equal(modelNameOf(file), name);
});

test("any name of a file gives a name that the server takes", () => {
  const pattern = new RegExp(`^${MODEL_NAME}$`);
  for (const file of ["x".repeat(300), "---", "1", "é", "", "A B\tC\u0000D.txt"])
    assert.match(modelNameOf(file), pattern);
});

test("texts of jobs are offered once each, under their first model's name", () => {
  const corpora = [
    { id: "a", bytes: 1 },
    { id: "b", bytes: 2 },
    { id: "c", bytes: 3 },
  ];
  const jobs = [
    { corpus_id: "c", model: "newer" },
    { corpus_id: "c", model: "older" },
    { corpus_id: "a", model: "other" },
    { corpus_id: "gone", model: "lost" },
  ];
  assert.deepEqual(textsOf(corpora, jobs), [
    { id: "a", bytes: 1, name: "other" },
    { id: "c", bytes: 3, name: "older" },
  ]);
});

const report = {
  bytes: 15_092,
  characters: 15_000,
  distinct: 25,
  lines: 400,
  encoding: "utf-8",
  line_ends: "lf",
  normalised: [],
  duplicate_line_share: 0,
  estimated_seconds: null,
  warnings: [],
};

test("the sizes of a text", () => {
  assert.deepEqual(sizesOf(report), [
    ["15,000", "characters"],
    ["25", "distinct"],
    ["400", "lines"],
  ]);
  assert.equal(sizesOf({ ...report, encoding: "bytes" })[0][1], "bytes");
  assert.equal(sizesOf({ ...report, characters: null }), null);
});

test("what is usual is not said", () => {
  assert.equal(factsOf(report), "UTF-8.");
  assert.equal(factsOf({ ...report, encoding: null }), "");
});

test("line ends are said, unless what was made of them is", () => {
  const crlf = { ...report, line_ends: "crlf" };
  assert.equal(factsOf(crlf), "UTF-8; Windows line endings.");
  const normalised = ["CRLF became LF"];
  assert.equal(factsOf({ ...crlf, normalised }), "UTF-8; CRLF became LF.");
});

test("repeated lines are said once", () => {
  const repeated = { ...report, duplicate_line_share: 0.22 };
  assert.equal(factsOf(repeated), "UTF-8; 22% of lines are repeats.");
  const warnings = ["22% of the lines are copies of others"];
  assert.equal(factsOf({ ...repeated, warnings }), "UTF-8.");
  assert.equal(factsOf({ ...report, duplicate_line_share: 0.005 }), "UTF-8.");
});

test("a warning names the option of the page", () => {
  const option = "“Read as: bytes” under Options";
  assert.equal(inOptions("it is large. Pass tokens=bytes"), `It is large. Choose ${option}.`);
  assert.equal(inOptions("save it, or pass tokens=bytes"), `Save it, or choose ${option}.`);
});

test("what to expect of a time", () => {
  const network = { num_layers: 2, hidden_size: 1024 };
  const said = (passes) => outlookOf("3 min", true, { ...network, passes });
  const start = "In 3 min here, 2 layers of 1,024 cells read the text";
  assert.equal(said(12.4), `${start} about 12 times.`);
  assert.equal(said(1.02), `${start} about once.`);
  assert.equal(said(0.4), `${start} in part: 40% of it.`);
  assert.equal(said(0.0001), `${start} in part: 1% of it.`);
  assert.equal(
    outlookOf("9 min", false, { num_layers: 1, hidden_size: 512, passes: 3 }),
    "It takes about 9 min here, in which 1 layer of 512 cells read the text about 3 times.",
  );
});

/** Bytes of text, as Python names the encoding. */
const BYTES = {
  "windows-1252": [0x46, 0x72, 0xfc, 0x68, 0x20, 0x61, 0x6d, 0x20, 0x54, 0x61, 0x67],
  shift_jis: [0x82, 0xb1, 0x82, 0xf1, 0x82, 0xc9, 0x82, 0xbf, 0x82, 0xcd, 0x81, 0x42],
  "euc-jp": [0xa4, 0xb3, 0xa4, 0xf3, 0xa4, 0xcb, 0xa4, 0xc1, 0xa4, 0xcf, 0xa1, 0xa3],
  "iso-2022-jp": [0x1b, 0x24, 0x42, 0x24, 0x33, 0x24, 0x73, 0x1b, 0x28, 0x42, 0x0a],
  "windows-1251": [0xef, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2, 0x2c, 0x20, 0xec, 0xe8, 0xf0],
  "koi8-r": [0xd0, 0xd2, 0xc9, 0xd7, 0xc5, 0xd4, 0x2c, 0x20, 0xcd, 0xc9, 0xd2],
  "euc-kr": [0xbe, 0xc8, 0xb3, 0xe7, 0xc7, 0xcf, 0xbc, 0xbc, 0xbf, 0xe4],
  gb18030: [0xd5, 0xe2, 0xca, 0xc7, 0xce, 0xd2, 0xb5, 0xc4, 0xca, 0xe9],
  big5: [0xb3, 0x6f, 0xac, 0x4f, 0xa7, 0xda, 0xaa, 0xba, 0xae, 0xd1],
  "utf-16le": [0x61, 0, 0x62, 0, 0x63, 0, 0x0a, 0],
  "utf-16be": [0, 0x61, 0, 0x62, 0, 0x63, 0, 0x0a],
};

test("the encoding of a text is guessed", () => {
  for (const [encoding, bytes] of Object.entries(BYTES)) {
    const text = Uint8Array.from(Array(30).fill(bytes).flat());
    assert.equal(guess(text), encoding);
  }
  const cut = new TextEncoder().encode("Fr\u00fchst\u00fcck").subarray(0, 9);
  assert.equal(guess(cut), "utf-8");
  assert.equal(guess(Uint8Array.of(0x75, 0x6e, 0x20, 0x63, 0x61, 0x66, 0xe9)), "windows-1252");
  assert.equal(guess(Uint8Array.of(0xff, 0xfe, 0x3b, 0x04)), "utf-16le");
  assert.equal(guess(Uint8Array.of(0xfe, 0xff, 0x04, 0x3b)), "utf-16be");
});

test("every encoding that is offered can be decoded, and wrong bytes are no text", () => {
  const own = (encoding) => encoding.startsWith("utf-32");
  for (const encoding of Object.keys(ENCODINGS))
    assert.ok(own(encoding) || new TextDecoder(encoding));
  const wide = Uint8Array.of(0xff, 0xfe, 0, 0, 0x3b, 0xf6, 1, 0, 0x61);
  assert.equal(guess(wide), "utf-32le");
  assert.equal(textIn("utf-32le", wide), "\u{1f63b}");
  assert.equal(textIn("utf-32be", wide), null);
  assert.equal(textIn("utf-8", Uint8Array.of(0x61, 0xc3)), "a");
  assert.equal(textIn("utf-8", Uint8Array.of(0xc3, 0x61)), null);
  const text = textIn("shift_jis", Uint8Array.from(BYTES.shift_jis));
  assert.equal(text, "\u3053\u3093\u306b\u3061\u306f\u3002");
  assert.equal(textIn("shift_jis", Uint8Array.of(0x82)), null);
  assert.equal(textIn("shift_jis", Uint8Array.of(0x82), { isCut: true }), "");
});

const h200 = {
  number: "0",
  name: "NVIDIA H200",
  memory_bytes: 150_754_820_096,
  memory_used_bytes: 3_221_225_472,
  utilisation: 0.97,
  temperature_celsius: 61,
  power_watts: 512.4,
};

test("of a GPU everything is said that its driver tells", () => {
  assert.equal(factsOfGpu(h200).join(" · "), "3.22 GB of 151 GB used · 97% busy · 61 °C · 512 W");
  const quiet = { ...h200, utilisation: null, temperature_celsius: null, power_watts: null };
  assert.deepEqual(factsOfGpu(quiet), ["3.22 GB of 151 GB used"]);
  assert.equal(factsOfGpu({ ...h200, utilisation: 0 })[1], "0% busy");
});

test("a GPU is shown once, and its host where there are several", () => {
  const here = { host: "a", trouble: null, gpus: [h200] };
  assert.deepEqual(gpusOf([here, here]), [{ ...h200, host: "" }]);
  const hosts = gpusOf([here, { ...here, host: "b" }]).map(({ host }) => host);
  assert.deepEqual(hosts, ["a", "b"]);
  assert.deepEqual(gpusOf([{ ...here, gpus: [] }]), []);
});

test("a worker that takes no job says why", () => {
  const here = { host: "a", trouble: null, gpus: [] };
  assert.deepEqual(troublesOf([here, { ...here, trouble: "it does not answer" }]), [
    "A worker on a waits for its GPU and takes no job: it does not answer.",
  ]);
});

test("what a text was made of", () => {
  const file = (source) => ({ name: "a", bytes: 1, source });
  const sources = (taken, left_out, source = "UTF-8") => ({
    sources: { taken, left_out, files: [file(source)], omitted: [] },
  });
  assert.equal(madeOf({ sources: null }), "");
  assert.equal(madeOf(sources(1, 0)), "");
  assert.equal(madeOf(sources(1, 0, "an EPUB book")), "The text of an EPUB book.");
  assert.equal(madeOf(sources(1, 0, "CP1252")), "Converted from CP1252.");
  assert.equal(madeOf(sources(1200, 0)), "Made of 1,200 files.");
  assert.equal(
    madeOf({ ...sources(1, 2), hidden: 3 }),
    "Made of 1 file; 2 left out; 3 hidden files not sent.",
  );
});

test("hidden files stay where they are", () => {
  for (const path of [".git/config", "a/.DS_Store", "web/node_modules/x.js"])
    assert.ok(isHidden(path));
  for (const path of ["a.txt", "a/b.txt"]) assert.ok(!isHidden(path));
});
