// Code on Write: which texts are code, and where its tokens are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { languageOf } from "../../app/static/js/views/write/code/language.js";
import { tokensOf } from "../../app/static/js/views/write/code/tokens.js";

const C = `/*
 * a & b
 */
static int f(struct a *b)
{
	if (b->c < 0x7f)
		return "it's";
	return 0;
}
`;
const LATEX = String.raw`\begin{proof}
Let $f: X \to Y$ be a \emph{morphism}, and % a comment
\end{proof}
`;
const PLAY = `ROMEO:
What say you, sir; I have a soul of love;
And in the morning, when the sun is high,
I shall be there (or not); farewell.
`;

test("code is told from other texts", () => {
  assert.equal(languageOf(C), "c");
  assert.equal(languageOf(LATEX), "latex");
  for (const text of [PLAY, "", "Karen\nKarel\n", "X:1\nK:C\n|:GAB c2d|\n", "a cage!"])
    assert.equal(languageOf(text), null);
});

test("tokens are where they stand in the text, whatever its characters", () => {
  const told = (text, language) =>
    tokensOf(text, language).map(({ kind, start, end }) => [kind, text.slice(start, end)]);
  assert.deepEqual(told(C, "c").slice(0, 4), [
    ["comment", "/*\n * a & b\n */"],
    ["keyword", "static"],
    ["keyword", "int"],
    ["title", "f"],
  ]);
  assert.ok(told(C, "c").some(([kind, text]) => kind === "string" && text === '"it\'s"'));
  assert.ok(told(C, "c").some(([kind, text]) => kind === "number" && text === "0x7f"));
  assert.deepEqual(told(LATEX, "latex").at(0), ["keyword", "\\begin"]);
  assert.ok(told(LATEX, "latex").some(([, text]) => text === "% a comment"));
  assert.deepEqual(told('"😀" < 1', "c"), [
    ["string", '"😀"'],
    ["number", "1"],
  ]);
  // What a model writes may end anywhere.
  assert.equal(told("/* not the end", "c").at(-1)[1], "/* not the end");
});
