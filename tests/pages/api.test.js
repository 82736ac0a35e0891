// Responses of the server: event streams, problems and lists.

import assert from "node:assert/strict";
import { test } from "node:test";
import { collect, events, Latest, problemOf } from "../../app/static/js/api.js";

// Server-sent events

/** A response whose body arrives in the chunks given, and then ends, unless it is to hang. */
function response(chunks, { hangs = false } = {}) {
  const encoded = chunks.map((chunk) =>
    typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk,
  );
  return new Response(
    new ReadableStream({
      start(controller) {
        for (const chunk of encoded) controller.enqueue(chunk);
        if (!hangs) controller.close();
      },
    }),
  );
}

const received = (chunks) => Array.fromAsync(events(response(chunks)));
const message = (data, event = "message", id = null) => ({ event, id, data });

test("an event has a type, an id and data", async () => {
  const text = 'event: text\nid: 7\ndata: {"text":"Ka"}\n\n';
  assert.deepEqual(await received([text]), [message('{"text":"Ka"}', "text", "7")]);
});

test("the type holds for one event, the id for all that follow", async () => {
  const text = "event: end\nid: 1\ndata: a\n\ndata: b\n\n";
  assert.deepEqual(await received([text]), [
    message("a", "end", "1"),
    message("b", "message", "1"),
  ]);
});

test("lines of data are joined, and one space after the colon is dropped", async () => {
  const text = "data: one\ndata:two\ndata:  three\ndata\n\n";
  assert.deepEqual(await received([text]), [message("one\ntwo\n three\n")]);
});

test("a value may hold colons", async () => {
  assert.deepEqual(await received(["data: a: b:c\n\n"]), [message("a: b:c")]);
});

test("comments, unknown fields and events without data are skipped", async () => {
  const text = ": ping\n\nevent: nothing\n\nretry: 5\nfoo: bar\nnodata\n\ndata: x\n\n";
  assert.deepEqual(await received([text]), [message("x")]);
});

test("a line ends with CR, LF or both", async () => {
  const text = "data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r";
  assert.deepEqual(await received([`${text}\n`]), [message("a\nb\nc"), message("d")]);
});

test("an event that the stream breaks off is dropped", async () => {
  assert.deepEqual(await received(["data: a\n\ndata: b\n"]), [message("a")]);
  assert.deepEqual(await received([]), []);
});

test("chunks may end anywhere, within a line end or a character", async () => {
  const text = "event: text\r\ndata: Füchse 🦊\r\n\r\n: ping\n\nid: 2\ndata: z\n\n";
  const expected = [message("Füchse 🦊", "text"), message("z", "message", "2")];
  const whole = new TextEncoder().encode(text);
  for (let at = 0; at <= whole.length; at++)
    assert.deepEqual(await received([whole.slice(0, at), whole.slice(at)]), expected, `at ${at}`);
  assert.deepEqual(await received(Array.from(whole, (byte) => Uint8Array.of(byte))), expected);
});

test("a stream that falls silent ends", async () => {
  const silent = response(["data: a\n\ndata: b"], { hangs: true });
  assert.deepEqual(await Array.fromAsync(events(silent, { silence: 5 })), [message("a")]);
});

test("who stops listening cancels the stream", async () => {
  let isCancelled = false;
  const stream = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode("data: a\n\n")),
    cancel: () => {
      isCancelled = true;
    },
  });
  for await (const { data } of events(new Response(stream))) {
    assert.equal(data, "a");
    break;
  }
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(isCancelled);
});

// Problems

test("a problem is told in the server's words, as a sentence", async () => {
  const errors = [{ field: "prime", message: "has an unknown character" }];
  const body = { title: "Unprocessable", detail: "the prime is wrong", errors };
  const problem = await problemOf(422, JSON.stringify(body), null);
  assert.equal(problem.message, "The prime is wrong.");
  assert.deepEqual(problem.errors, errors);
  assert.equal(problem.status, 422);
  assert.equal(problem.retryAfter, 0);
});

test("a problem without detail has its title", async () => {
  assert.equal((await problemOf(404, '{"title":"Not Found"}', null)).message, "Not Found.");
});

test("what is not a problem of ours is told by its status", async () => {
  for (const text of ["<h1>Bad gateway</h1>", "", "null", "[]", "3"])
    assert.equal(
      (await problemOf(502, text, null)).message,
      "The server responded with status 502.",
    );
  assert.deepEqual((await problemOf(502, "", null)).errors, []);
});

test("a problem says when to try again, in seconds", async () => {
  assert.equal((await problemOf(503, "{}", "12")).retryAfter, 12);
  assert.equal((await problemOf(503, "{}", "Wed, 21 Oct 2026 07:28:00 GMT")).retryAfter, 0);
});

// Lists

/** Pages of a list of numbers, three on each; keeps the queries. */
function pages(length) {
  const queries = [];
  const pageAt = async (query) => {
    queries.push(query.toString());
    const start = Number(query.get("cursor") ?? 0);
    const items = Array.from({ length: Math.min(3, length - start) }, (_, i) => start + i);
    return { items, next: start + 3 < length ? String(start + 3) : null };
  };
  return { pageAt, queries };
}

test("a list is collected page by page", async () => {
  const { pageAt, queries } = pages(8);
  assert.deepEqual(await collect(pageAt, "items", 300), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(queries, ["limit=100", "limit=100&cursor=3", "limit=100&cursor=6"]);
});

test("a list of one page is one request", async () => {
  const { pageAt, queries } = pages(2);
  assert.deepEqual(await collect(pageAt, "items", 300), [0, 1]);
  assert.equal(queries.length, 1);
});

test("a long list ends with the page that reaches the limit", async () => {
  const { pageAt, queries } = pages(100);
  assert.equal((await collect(pageAt, "items", 5)).length, 6);
  assert.equal(queries.length, 2);
});

// Latest

test("beginning anew aborts what was begun before", () => {
  const latest = new Latest();
  const first = latest.begin();
  assert.ok(!first.aborted);
  const second = latest.begin();
  assert.ok(first.aborted && !second.aborted);
  latest.abort();
  assert.ok(second.aborted);
});
