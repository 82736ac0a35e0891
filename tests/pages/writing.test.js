// Writing on: in steps that end in states, after a stop, and where a state has expired. The server
// is played by a text whose every character depends on what was read before it.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  begun,
  branched,
  grow,
  lengthOf,
  textOf,
} from "../../app/static/js/views/write/variant.js";
import { continuationsAt, detailsAt, readable } from "../../app/static/js/views/write/asking.js";
import { NEEDS_CLIPPING, writeOn } from "../../app/static/js/views/write/writing.js";

const real = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = real;
});

/** The character that follows a text. */
const next = (text) => String.fromCharCode(97 + ((text.length * 7 + (text.length % 5)) % 26));

function continued(text, length) {
  let all = text;
  while (all.length < text.length + length) all += next(all);
  return all.slice(text.length);
}

const problem = (status, code) =>
  new Response(JSON.stringify({ detail: "no", code, errors: [] }), { status });

/** A server that answers /sample, and what it was asked; its states are the texts themselves. */
function served({ digest = "d", refuse = () => null } = {}) {
  const asked = [];
  globalThis.fetch = async (_, { body, headers }) => {
    const fields = JSON.parse(body);
    asked.push(fields);
    const refusal = refuse(fields);
    if (refusal) return refusal;
    const read = (fields.continue_from ?? "") + (fields.prime ?? "");
    const text = continued(read, fields.length);
    const end = { finish_reason: "length", characters: text.length, seconds: 1 };
    if (headers.Accept.includes("event-stream")) {
      const events = [
        ["text", { text: text.slice(0, 3) }],
        ["text", { text: text.slice(3) }],
        ["end", { ...end, state: read + text }],
      ];
      const stream = events.map(
        ([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`,
      );
      return new Response(stream.join(""), {
        headers: { "X-Model-Digest": digest, "X-Seed": "7" },
      });
    }
    const probabilities = [
      {
        char: "a",
        top: [
          ["a", 0.5],
          ["b", 0.25],
        ],
      },
    ];
    const echoed = fields.echo ? read.replaceAll("あ", "") : "";
    return Response.json({ text: echoed + text, ...end, probabilities });
  };
  return asked;
}

const SETTINGS = { model: "toy", style: null, prime: "Ka", temperature: 0.8, seed: "7" };

async function write(variant, length, controller = new AbortController(), most = Infinity) {
  const writing = writeOn(variant, length, controller.signal);
  for (let count = 0; ; count += 1) {
    if (count >= most) controller.abort();
    const { done, value } = await writing.next();
    if (done) return value;
  }
}

test("a long text is written in steps, and is the one that a single request gives", async () => {
  const asked = served();
  const variant = begun(SETTINGS);
  const { characters, seconds } = await write(variant, 40_000);
  assert.equal(textOf(variant), `Ka${continued("Ka", 40_000)}`);
  assert.deepEqual([characters, seconds, asked.length], [40_000, 3, 3]);
  assert.deepEqual(
    asked.map(({ length, prime }) => [length, prime]),
    [
      [16_381, "Ka"],
      [16_383, undefined],
      [7236, undefined],
    ],
  );
  assert.equal(asked[0].probabilities, 5);
  // From any character one can branch, near its end too.
  const branch = branched(variant, 35_000, "!");
  await write(branch, 10);
  const read = `${textOf(variant).slice(0, 35_000)}!`;
  assert.equal(textOf(branch), read + continued(read, 10));
});

test("a stopped text continues as if it had not stopped", async () => {
  const asked = served();
  const variant = begun(SETTINGS);
  await assert.rejects(write(variant, 400, new AbortController(), 1), { name: "AbortError" });
  assert.equal(textOf(variant), `Ka${continued("Ka", 3)}`);
  await write(variant, 10);
  assert.equal(textOf(variant), `Ka${continued("Ka", 13)}`);
  assert.equal(variant.own, 13);
  // First the state where it was stopped, then the rest.
  assert.deepEqual(
    asked.map(({ length }) => length),
    [400, 3, 10],
  );
  await write(variant, 5);
  assert.equal(textOf(variant), `Ka${continued("Ka", 18)}`);
});

test("a server that is away between two steps is waited for", async () => {
  let refusals = 0;
  const asked = served({
    refuse: ({ continue_from }) => {
      if (!continue_from || refusals === 2) return null;
      refusals += 1;
      return problem(503, "server_full");
    },
  });
  const variant = begun(SETTINGS);
  await write(variant, 20_000);
  assert.equal(textOf(variant), `Ka${continued("Ka", 20_000)}`);
  assert.equal(asked.length, 4);
  // At the beginning nobody waits.
  served({ refuse: () => problem(503, "server_full") });
  await assert.rejects(write(begun(SETTINGS), 10), { code: "server_full" });
});

test("a text that the model would write otherwise now is not continued unnoticed", async () => {
  served();
  const variant = begun(SETTINGS);
  grow(variant, "zzz", 3);
  await assert.rejects(write(variant, 10), { code: NEEDS_CLIPPING });
  assert.equal(textOf(variant), "Kazzz");
});

for (const code of ["state_of_another_checkpoint", "invalid_state"])
  test(`an expired state is said (${code})`, async () => {
    const asked = served({
      refuse: ({ continue_from }) => continue_from && problem(409, code),
    });
    const variant = begun(SETTINGS);
    await write(variant, 10);
    const length = lengthOf(variant);
    await assert.rejects(write(variant, 10), { code: NEEDS_CLIPPING, message: /has expired/ });
    assert.equal(lengthOf(variant), length);
    assert.equal(asked.length, 2);
  });

test("a text that is out of reach is not cut unnoticed", async () => {
  const asked = served();
  const variant = begun({ ...SETTINGS, prime: "x".repeat(20_000) });
  await assert.rejects(write(variant, 10), { code: NEEDS_CLIPPING });
  assert.equal(asked.length, 0);
  assert.equal(await detailsAt(variant, 19_000, "x"), null);
});

test("a character can be asked about later", async () => {
  const asked = served();
  const variant = begun(SETTINGS);
  await write(variant, 10);
  const details = await detailsAt(variant, 5, "b");
  assert.deepEqual([details.char, details.probability], ["b", 0.25]);
  assert.equal((await detailsAt(variant, 5, "q")).probability, null);
  assert.deepEqual([asked.at(-1).prime, asked.at(-1).length], [textOf(variant).slice(0, 5), 1]);
});

test("of an emoji, each character is asked about behind the one before", async () => {
  const asked = served();
  const variant = begun({ ...SETTINGS, prime: "flag: " });
  await write(variant, 10);
  asked.length = 0;
  const details = await detailsAt(variant, 6, "ab");
  assert.deepEqual([details.char, details.probability], ["ab", 0.125]);
  assert.deepEqual(
    asked.map(({ prime }) => prime),
    [textOf(variant).slice(0, 6), textOf(variant).slice(0, 7)],
  );
});

test("continuations are different ones of the text before the caret", async () => {
  const asked = served();
  const variant = begun(SETTINGS);
  assert.deepEqual(await continuationsAt(variant, 1, { count: 3, length: 4 }), [continued("K", 4)]);
  assert.deepEqual(
    asked.map(({ seed, prime }) => [seed, prime]),
    [7, 8, 9].map((seed) => [seed, "K"]),
  );
});

test("unknown characters are left out of a text however long it is", async () => {
  served();
  const long = `${"a".repeat(16_383)}あ${"b".repeat(10)}`;
  assert.equal(await readable("toy", long), long.replace("あ", ""));
});
