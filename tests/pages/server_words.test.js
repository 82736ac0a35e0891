// What the server says, in another language: whole sentences with their values, and by code.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

globalThis.document = { documentElement: { lang: "ja" } };
globalThis.fetch = async (url) => Response.json(JSON.parse(readFileSync(url, "utf8")));
const { problemOf } = await import("../../app/static/js/api.js");
const { ENOUGH, REASONS, said } = await import("../../app/static/js/server_words.js");
const { atField, inWords, understand } = await import("../../app/static/js/words.js");
await understand();

const LATIN_WORDS = /[a-z]{2,} [a-z]{2,}/i;

test("sentences come with their values", () => {
  assert.equal(said("must be a whole number from 1 to 8"), "1〜8 の整数にしてください");
  assert.equal(
    said("must be lstm, gru or rnn"),
    "次のいずれかにしてください：lstm、gru、またはrnn",
  );
  assert.match(said("the text has 12 characters: send at least 100"), /12 文字しか.*100 /);
  assert.equal(said("must be something else altogether"), null);
});

test("unknown characters are named, however many they are", () => {
  const begin = "has characters not in this model's vocabulary: ";
  assert.equal(
    atField(`${begin}'日', '本'. Remove them, or set unknown=skip`),
    "モデルの知らない文字があります：'日', '本'",
  );
  assert.match(atField(`${begin}'日' and 5 more`), /ほか 5 種類$/);
});

test("errors of fields are told with the names of their fields", async () => {
  const errors = [
    { field: "num_layers", message: "must be a whole number from 1 to 8" },
    { field: "seed", message: "is missing" },
  ];
  const detail = "num_layers must be a whole number from 1 to 8; seed is missing";
  const problem = await problemOf(
    422,
    JSON.stringify({ code: "invalid_fields", detail, errors }),
    null,
  );
  assert.equal(problem.message, "層の数：1〜8 の整数にしてください / シード：入力してください。");
  assert.deepEqual(
    problem.errors.map(({ message }) => message),
    ["1〜8 の整数にしてください", "入力してください"],
  );
});

test("what is not known stands in English after a line end", () => {
  const detail = "body is not a checkpoint: it has no weights";
  const errors = [{ field: "body", message: "is not a checkpoint: it has no weights" }];
  assert.equal(
    inWords({ code: "invalid_fields", detail, errors }),
    "入力内容に誤りがあります。\nBody is not a checkpoint: it has no weights.",
  );
  assert.equal(atField(errors[0].message), "\nis not a checkpoint: it has no weights");
  assert.equal(inWords({}, "Bad Gateway"), "サーバーに拒否されました。\nBad Gateway.");
});

test("every code of a problem has words", () => {
  const [, table] = /^CODES = \{\n(.*?)^\}/ms.exec(read("app/http/problems.py"));
  const codes = [...table.matchAll(/^ {4}"(\w+)":/gm)].map(([, code]) => code);
  assert.ok(codes.length > 50);
  for (const code of codes) {
    const words = inWords({ code, detail: "the words of the server" });
    assert.doesNotMatch(words.split("\n")[0], LATIN_WORDS, code);
    assert.ok(!words.startsWith("サーバーに拒否されました"), code);
  }
  for (const code of Object.keys({ ...ENOUGH, ...REASONS })) assert.ok(codes.includes(code), code);
});
