// A text before it is trained on: its name, the texts that are here, and the doctor's report.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MODEL_NAME } from "../../app/static/js/limits.js";
import { modelNameOf, textsOf } from "../../app/static/js/views/train/corpus.js";
import { factsOf as factsOfGpu, gpusOf, troublesOf } from "../../app/static/js/views/train/gpus.js";
import { factsOf, sizesOf } from "../../app/static/js/views/train/report.js";

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

test("the time that it takes", () => {
  const slow = { ...report, encoding: "ascii", estimated_seconds: 1320 };
  assert.equal(factsOf(slow), "Plain ASCII; takes about 22 min here.");
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
