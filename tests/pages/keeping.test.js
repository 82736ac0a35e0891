// What the browser keeps of variants: bounded, and said where it keeps nothing.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  Keeping,
  MOST_VARIANTS,
  remember,
  remembered,
} from "../../app/static/js/views/write/keeping.js";
import { begun, grow } from "../../app/static/js/views/write/variant.js";

afterEach(() => {
  delete globalThis.indexedDB;
  delete globalThis.localStorage;
});

const SETTINGS = { model: "toy", style: null, prime: "Ka", temperature: 0.8, seed: "7" };

function written(text) {
  const variant = begun(SETTINGS);
  grow(variant, text, text.length);
  return variant;
}

/** A request of IndexedDB's that succeeds, or fails, a moment later. */
function request(act) {
  const target = new EventTarget();
  queueMicrotask(() => {
    try {
      target.result = act();
      target.dispatchEvent(new Event("success"));
    } catch (error) {
      target.error = error;
      target.dispatchEvent(new Event("error"));
    }
  });
  return target;
}

/** As much of IndexedDB as is used, around what is stored. */
function browserWith(stored, { refuse = () => {} } = {}) {
  const store = {
    getAll: () => request(() => structuredClone([...stored.values()])),
    put: (one) =>
      request(() => {
        refuse();
        stored.set(one.id, structuredClone(one));
      }),
    delete: (id) => request(() => stored.delete(id)),
  };
  const database = { transaction: () => ({ objectStore: () => store }) };
  globalThis.indexedDB = { open: () => request(() => database) };
  return stored;
}

test("variants come back, oldest first, and other records do not", async () => {
  const [one, other] = [written("ren"), written("la")];
  one.created = "2026-02-01";
  other.created = "2026-01-01";
  const stored = browserWith(new Map([["x", { id: "x" }]]));
  const keeping = new Keeping();
  assert.deepEqual(await keeping.open(), []);
  for (const variant of [one, other]) await keeping.keep(variant);
  assert.deepEqual(await new Keeping().open(), [other, one]);
  await keeping.drop(one.id);
  assert.ok(keeping.isSafe && !keeping.isFull && !stored.has(one.id));
});

test("no more are kept than there is room for, until one is removed", async () => {
  const many = Array.from({ length: MOST_VARIANTS }, (_, i) => ({ ...written("x"), id: `${i}` }));
  const stored = browserWith(new Map(many.map((one) => [one.id, one])));
  const keeping = new Keeping();
  await keeping.open();
  const late = written("late");
  await keeping.keep(late);
  assert.ok(keeping.isFull && keeping.misses(late.id) && !stored.has(late.id));
  // What is there already may change.
  await keeping.keep(many[0]);
  assert.ok(keeping.isFull && !keeping.misses("0"));
  await keeping.drop("1");
  await keeping.keep(late);
  assert.ok(!keeping.isFull && stored.has(late.id));
  const huge = written("x".repeat(20_000_000));
  await keeping.drop("2");
  await keeping.keep(huge);
  assert.ok(keeping.isFull && !stored.has(huge.id));
});

test("a disk that is full is said", async () => {
  browserWith(new Map(), {
    refuse: () => {
      throw new DOMException("full", "QuotaExceededError");
    },
  });
  const keeping = new Keeping();
  await keeping.open();
  await keeping.keep(written("ren"));
  assert.ok(keeping.isFull);
});

test("a browser that keeps nothing is said, and nothing fails", async () => {
  const keeping = new Keeping();
  assert.deepEqual(await keeping.open(), []);
  await keeping.keep(written("ren"));
  await keeping.drop("any");
  assert.equal(keeping.isSafe, false);
  assert.equal(remembered("model"), null);
  remember("model", "toy");
});

test("little things are remembered beside each other", () => {
  const kept = new Map([["charloom-write", "not JSON"]]);
  globalThis.localStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
  };
  assert.equal(remembered("model"), null);
  kept.clear();
  remember("model", "toy");
  remember("hints", ["touch"]);
  assert.deepEqual([remembered("model"), remembered("hints")], ["toy", ["touch"]]);
});
