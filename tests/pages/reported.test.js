// Sentences of the server's in the page's language, with the values that stand in them.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

globalThis.document = { documentElement: { lang: "ja" } };
globalThis.fetch = async (url) => Response.json(JSON.parse(await readFile(url)));
const { reported } = await import("../../app/static/js/reported.js");

test("values stand where the translation has them", () => {
  assert.equal(
    reported("the newest saved state is damaged: training resumes from step 1,200"),
    "最後に保存した状態が壊れているため、ステップ 1,200 から再開します。",
  );
});

test("a value may be a sentence of the server's, too", () => {
  assert.equal(
    reported("it is an image (png): it holds no text to train on"),
    "画像（png）です。学習に使えるテキストを含んでいません。",
  );
  assert.equal(
    reported("Memory ran out: training resumes by itself after 4 s, attempt 2 of 3"),
    "メモリーが足りなくなりました。4 秒後に自動で再開します（3 回中 2 回目の試行）。",
  );
});

test("sentences and clauses in a row are each translated", () => {
  assert.equal(
    reported(
      "Memory ran out, three times in a row before a step was saved. Most likely memory ran out: choose smaller sizes. It said last: “No. It is full”. When the cause is removed, resume it with POST /jobs/a1/resume.",
    ),
    "一度も状態を保存できないまま、続けて三回失敗しました（メモリーが足りなくなりました）。おそらくメモリー不足です。サイズを小さくしてください。最後のメッセージ：「No. It is full」。原因を取り除いたら、［再開］を押してください。",
  );
  assert.equal(
    reported("it is hidden (3 files); it is empty"),
    "隠しファイル（3 ファイル）、空のファイル",
  );
});

test("what a corpus says is not taken for the server's words", () => {
  assert.equal(
    reported(
      "in 90 characters that it wrote, the longest run that the corpus has word for word is 9 characters: “it is {empty}”. 60% of its lines are not lines of the corpus",
    ),
    "生成した 90 文字のうち、元のテキストとそのまま一致する最も長い部分は 9 文字で、「it is {empty}」です。生成した行の 60% は元のテキストにない行です。",
  );
});

test("without a translation it stays as it is, whatever is known of it", () => {
  for (const text of ["it does not answer", "it is hidden; nobody knows why", ""])
    assert.equal(reported(text), text);
});
