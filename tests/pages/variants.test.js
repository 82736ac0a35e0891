// Variants of a text: how one comes of another, what is asked of the server to write it on, and the
// tree that they make.

import assert from "node:assert/strict";
import { test } from "node:test";
import { edited, mended } from "../../app/static/js/views/write/edits.js";
import { variantsIn } from "../../app/static/js/views/write/files.js";
import { fileName, labelOf } from "../../app/static/js/views/write/labels.js";
import { Tree } from "../../app/static/js/views/write/tree.js";
import {
  again,
  begun,
  branched,
  charactersIn,
  grow,
  linkOf,
  mark,
  onward,
  partingOf,
  readingOf,
  requestOf,
  stepOf,
  textOf,
  variantFrom,
  writtenIn,
} from "../../app/static/js/views/write/variant.js";

const SETTINGS = { model: "toy", style: null, prime: "Ka", temperature: 0.8, seed: "7" };

/** A text that was written in full. */
function written(text, settings = SETTINGS) {
  const variant = begun(settings);
  grow(variant, text, charactersIn(text));
  mark(variant, `after ${text.length}`);
  return variant;
}

const kindsOf = ({ pieces }) => pieces.map(({ kind, text }) => [kind, text]);

test("a branch has the text before a character, the other one, and what follows it", () => {
  const parent = written("ren is a cat");
  const branch = branched(parent, 5, "l");
  grow(branch, "a sits", 6);
  assert.deepEqual(kindsOf(branch), [
    ["given", "Ka"],
    ["written", "ren"],
    ["changed", "l"],
    ["written", "a sits"],
  ]);
  assert.equal(textOf(parent), "Karen is a cat");
  assert.equal(branch.parent, parent.id);
  // Its link has all before as the prime: whoever opens it gets the same text.
  const { prime, length, seed } = linkOf(branch);
  assert.deepEqual([prime, length, seed], ["Karenl", 6, "7"]);
  assert.equal(writtenIn(branch), 9);
});

test("the same beginning again is a sibling", () => {
  const branch = branched(written("ren is a cat"), 5, "l");
  grow(branch, "a sits", 6);
  const sibling = again(branch, { ...branch, temperature: 1.2, seed: "8" });
  assert.equal(textOf(sibling), "Karenl");
  assert.deepEqual([sibling.parent, sibling.at, sibling.seed], [branch.parent, branch.at, "8"]);
});

test("an edit keeps what is the same on both sides", () => {
  const parent = written("ren is a cat");
  const cat = edited(parent, "Karen was a cat", "9");
  assert.deepEqual(kindsOf(cat), [
    ["given", "Ka"],
    ["written", "ren "],
    ["changed", "wa"],
    ["kept", "s a cat"],
  ]);
  assert.equal(textOf(edited(parent, "Karen is", "9")), "Karen is");
  assert.equal(textOf(edited(parent, "", "9")), "");
  assert.equal(edited(parent, "Karen is a cat", "9"), null);
  // A character of two units is changed whole, at its beginning and at its end.
  const smiling = written("😀😁");
  assert.deepEqual(kindsOf(edited(smiling, "Ka😂😁", "9"))[1], ["changed", "😂"]);
  assert.equal(partingOf("a😀", "a😁"), 1);
  const same = written("\u{1F600}");
  assert.deepEqual(kindsOf(edited(same, "Ka\u{1FA00}", "9"))[1], ["changed", "\u{1FA00}"]);
});

test("a beginning that is mended stays where it was in the tree", () => {
  assert.equal(textOf(mended(begun({ ...SETTINGS, prime: "It’s" }), "It's")), "It's");
  const draft = edited(written("ren"), "Karen’s", "9");
  const plain = mended(draft, "Karen's");
  assert.deepEqual([textOf(plain), plain.parent], ["Karen's", draft.parent]);
});

test("a short text is sent whole, a long one from the last state before", () => {
  const parent = written("x".repeat(16_000));
  assert.deepEqual(readingOf(parent, 10), { prime: `Ka${"x".repeat(8)}` });
  grow(parent, "y".repeat(16_000), 16_000);
  mark(parent, "after 32000");
  grow(parent, "z".repeat(16_000), 16_000);
  mark(parent, "after 48000");
  const { prime, continue_from } = readingOf(parent, 20_000);
  assert.equal(continue_from, "after 16000");
  assert.equal(prime, "y".repeat(20_000 - 16_002));
  const branch = branched(parent, 40_000, "!");
  assert.equal(requestOf(branch).continue_from, "after 32000");
  assert.ok(requestOf(branch).prime.endsWith("z!"));
  assert.equal(textOf(branch).length, 40_001);
  // At a state nothing is left to be read.
  assert.deepEqual(requestOf(parent), { continue_from: "after 48000" });
  // Another model cannot read the states of this one.
  const other = again(branch, { ...branch, model: "other" });
  assert.equal(requestOf(other), null);
});

test("every step ends so early that each of its characters is in reach", () => {
  assert.equal(stepOf({ prime: "Ka" }, 400), 400);
  assert.equal(stepOf({ prime: "x".repeat(16_000) }, 2000), 383);
  assert.equal(stepOf({ prime: "x".repeat(16_384) }, 2000), 1);
  assert.equal(stepOf({ continue_from: "state" }, 1_000_000), 16_383);
});

test("from the last characters only, a text has no link", () => {
  const long = written("x".repeat(20_000));
  const next = onward(long);
  assert.equal(textOf(next), textOf(long));
  assert.equal(requestOf(next).prime.length, 16_384);
  grow(next, "y", 1);
  assert.equal(linkOf(next), null);
});

test("a kept tree is read back, without what makes no sense", () => {
  const variant = branched(written("ren"), 3, "l");
  variant.name = "A name";
  assert.deepEqual(variantFrom(JSON.parse(JSON.stringify(variant))), variant);
  for (const wrong of [
    null,
    7,
    { ...variant, id: 7 },
    { ...variant, pieces: [{ kind: "script", text: "x" }] },
    { ...variant, pieces: [{ kind: "given" }] },
    { ...variant, base: 99 },
    { ...variant, temperature: "hot" },
    { ...variant, seed: "-1" },
  ])
    assert.equal(variantFrom(wrong), null);
  assert.deepEqual(variantFrom({ ...variant, marks: [{ at: -1, state: 7 }] }).marks, []);
});

// The tree

/** A tree of a root, a branch of it, and a branch of that one. */
function grown() {
  const tree = new Tree();
  const root = written("ren is a cat");
  const branch = branched(root, 5, "l");
  grow(branch, "a sits", 6);
  const leaf = branched(branch, 8, "!");
  for (const variant of [root, branch, leaf]) tree.add([variant], [variant.id]);
  return { tree, root, branch, leaf };
}

const idsOf = (tree) => tree.all.map(({ id }) => id);

test("a branch belongs to the variant that has the text before it", () => {
  const { tree, root, branch, leaf } = grown();
  assert.equal(tree.ownerAt(leaf, 9), leaf);
  assert.equal(tree.ownerAt(leaf, 8), branch);
  assert.equal(tree.ownerAt(leaf, 6), branch);
  assert.equal(tree.ownerAt(leaf, 5), root);
  assert.equal(tree.ownerAt(root, 0), root);
});

test("each variant is followed by its branches, the newest text first", () => {
  const { tree, root, branch, leaf } = grown();
  const other = written("la");
  tree.add([other], []);
  const rows = tree
    .rows()
    .map(({ variant, level, place, siblings, branches }) => [
      variant.id,
      level,
      place,
      siblings,
      branches,
    ]);
  assert.deepEqual(rows, [
    [other.id, 1, 1, 2, 0],
    [root.id, 1, 2, 2, 1],
    [branch.id, 2, 1, 1, 1],
    [leaf.id, 3, 1, 1, 0],
  ]);
  assert.equal(tree.rows(new Set([root.id])).length, 2);
});

test("branches of what is removed hang where it hung", () => {
  const { tree, root, branch, leaf } = grown();
  tree.remove(branch.id, []);
  assert.deepEqual([leaf.parent, leaf.at], [root.id, 5]);
  assert.equal(textOf(leaf), "Karenla !");
  tree.remove(root.id, []);
  assert.deepEqual([leaf.parent, leaf.at], [null, null]);
  assert.deepEqual(idsOf(tree), [leaf.id]);
});

test("changes are undone and redone, with what was shown", () => {
  const { tree, root, branch, leaf } = grown();
  tree.rename(branch.id, "Sitting", ["before the name"]);
  tree.remove(branch.id, ["before it was removed"]);
  assert.deepEqual(tree.undo(["now"]), ["before it was removed"]);
  assert.deepEqual([leaf.parent, leaf.at, branch.name], [branch.id, 8, "Sitting"]);
  assert.deepEqual(tree.undo(["then"]), ["before the name"]);
  assert.equal(branch.name, "");
  assert.deepEqual(tree.redo([]), ["then"]);
  assert.equal(branch.name, "Sitting");
  assert.deepEqual(tree.redo([]), ["now"]);
  assert.ok(!tree.has(branch.id) && !tree.canRedo);
  for (let i = 0; i < 5; i += 1) tree.undo([]);
  assert.deepEqual([idsOf(tree), tree.canUndo, tree.undo([])], [[], false, null]);
  tree.redo([]);
  assert.deepEqual(idsOf(tree), [root.id]);
  // What is done then is not to be undone by going forward.
  tree.rename(root.id, "Root", []);
  assert.equal(tree.redo([]), null);
});

test("a label shows the change and what is around it", () => {
  const { tree, root, branch } = grown();
  assert.deepEqual(labelOf(root), { before: "Karen is a cat", changed: "", after: "" });
  assert.deepEqual(labelOf(branch), { before: "…Karen", changed: "l", after: "a sits" });
  tree.rename(branch.id, "Sitting", []);
  assert.equal(labelOf(branch).before, "Sitting");
});

test("a label and a file's name end with whole characters", () => {
  const text = `a${"𠮷".repeat(60)}`;
  const variant = begun({ ...SETTINGS, prime: text });
  assert.equal(labelOf(variant).before, `a${"𠮷".repeat(39)}`);
  assert.equal(fileName({ ...variant, name: `a${"𠮷".repeat(60)}` }), `a${"𠮷".repeat(19)}`);
  const before = `${"か".repeat(20)}👩‍👧👩‍👧👩‍👧`;
  const branch = branched(begun({ ...SETTINGS, prime: `${before}x` }), before.length, "y");
  assert.equal(labelOf(branch).before, "…👩‍👧👩‍👧👩‍👧");
});

test("a tree goes through a file, without states and beside what is there", () => {
  const { tree, branch } = grown();
  const json = JSON.stringify(tree);
  assert.ok(!json.includes("after 12"));
  const other = new Tree();
  other.load(variantsIn(json, other));
  assert.deepEqual(
    other.rows().map(({ level }) => level),
    [1, 2, 3],
  );
  assert.deepEqual(idsOf(other), idsOf(tree));
  const again = variantsIn(json, other);
  other.add(again, []);
  assert.equal(other.size, 6);
  assert.equal(again[1].parent, again[0].id);
  assert.equal(textOf(again[1]), textOf(branch));
  for (const wrong of ["", "{}", '{"format":"charloom variants"}', "[1]"])
    assert.equal(variantsIn(wrong, tree), null);
});

test("variants whose parents are missing, or go round, begin on their own", () => {
  const [one, other, lost] = ["a", "b", "c"].map((text) => written(text));
  Object.assign(one, { parent: other.id, at: 1 });
  Object.assign(other, { parent: one.id, at: 1 });
  Object.assign(lost, { parent: "gone", at: 1 });
  const tree = new Tree();
  tree.load([one, other, lost]);
  const listed = tree.rows().map(({ variant }) => variant.id);
  assert.deepEqual(new Set(listed), new Set([one.id, other.id, lost.id]));
});
