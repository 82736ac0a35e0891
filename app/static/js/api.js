// The client of the server's API: requests, problems, server-sent events. Knows no view.

import { askForKey, authorization, hasKey } from "./key.js";
import { t } from "./language.js";
import { at } from "./root.js";
import { atField, inWords, understand } from "./words.js";

export const NO_RESPONSE = t("The server is not responding. It may be starting, or down.");

/** An error response (RFC 9457); status 0 if there was no response at all. */
export class Problem extends Error {
  constructor(status, detail, errors = [], retryAfter = 0, code = "") {
    super(detail);
    this.status = status;
    this.errors = errors;
    this.retryAfter = retryAfter;
    this.code = code;
  }
}

/** The problem in a response's body. */
export async function problemOf(status, text, retryAfter) {
  await understand();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Not from our server: a proxy's page, perhaps.
  }
  const fallback = body?.title || t("The server responded with status {status}.", { status });
  const words = inWords(body ?? {}, fallback);
  const errors = body?.errors?.map((error) => ({ ...error, message: atField(error.message) }));
  return new Problem(status, words, errors, Number(retryAfter) || 0, body?.code);
}

const aborted = () => new DOMException("aborted", "AbortError");

export const wasAborted = (error) => error.name === "AbortError";

/** Work of which only the latest counts: beginning it aborts what was begun before. */
export class Latest {
  #controller = null;

  /** The signal of a new piece of work. */
  begin() {
    this.abort();
    this.#controller = new AbortController();
    return this.#controller.signal;
  }

  abort() {
    this.#controller?.abort();
  }
}

// Requests

/**
 * Sends a request and returns the response if it is a success.
 *
 * `json` is sent as the body; other options are fetch's. Throws a Problem, or an AbortError.
 */
export async function request(path, { json, headers = {}, ...options } = {}) {
  if (json !== undefined) {
    options = { method: "POST", ...options, body: JSON.stringify(json) };
    headers = { "Content-Type": "application/json", ...headers };
  }
  for (;;) {
    const response = await respond(path, { ...options, headers });
    if (response.ok) return response;
    const problem = await problemOf(
      response.status,
      await response.text(),
      response.headers.get("retry-after"),
    );
    const aboutKeys = problem.status === 401 || (problem.status === 403 && hasKey());
    if (aboutKeys && (await askForKey(problem.status))) continue;
    throw problem;
  }
}

async function respond(path, { headers, ...options }) {
  try {
    return await fetch(at(path), {
      // A page and an API response may share a URL: going back must not show the latter.
      cache: "no-store",
      ...options,
      headers: { Accept: "application/json", ...headers, ...authorization() },
    });
  } catch (error) {
    if (wasAborted(error)) throw error;
    throw new Problem(0, NO_RESPONSE);
  }
}

export const get = async (path, options) => (await request(path, options)).json();
export const post = async (path, json, options) =>
  (await request(path, { json, ...options })).json();
export const remove = (path) => request(path, { method: "DELETE" });

/** The items of a paginated list, up to the page that reaches `most`. */
export const list = (path, name, most = 300) =>
  collect((query) => get(`${path}?${query}`), name, most);

/** Collects `name` from pages until there is no `next` cursor; `pageAt` takes the query. */
export async function collect(pageAt, name, most) {
  const items = [];
  let cursor = null;
  do {
    const page = await pageAt(new URLSearchParams({ limit: "100", ...(cursor && { cursor }) }));
    items.push(...page[name]);
    cursor = page.next;
  } while (cursor && items.length < most);
  return items;
}

/** The result at a path once the server has computed it; calls `waiting` before each wait. */
export async function whenReady(path, { signal, waiting = () => {} } = {}) {
  for (;;) {
    const response = await request(path, { signal });
    if (response.status !== 202) return response.json();
    waiting();
    await pause(1000 * Math.min(10, Number(response.headers.get("retry-after")) || 1), signal);
  }
}

export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(aborted());
    });
  });
}

/**
 * Uploads a file or a form with XMLHttpRequest: fetch cannot report progress. The browser knows
 * the type of a form.
 */
export async function upload(
  path,
  file,
  { type = "text/plain", progress = () => {}, signal } = {},
) {
  for (;;) {
    const { status, text, retryAfter } = await send(path, file, type, progress, signal);
    if (status >= 200 && status < 300) return JSON.parse(text);
    const problem = await problemOf(status, text, retryAfter);
    if (status === 401 && (await askForKey(status))) continue;
    throw problem;
  }
}

function send(path, file, type, progress, signal) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", at(path));
    const headers = { Accept: "application/json", ...authorization() };
    if (!(file instanceof FormData)) headers["Content-Type"] = type;
    for (const [name, value] of Object.entries(headers)) sending.setRequestHeader(name, value);
    sending.upload.onprogress = (event) =>
      event.lengthComputable && progress(event.loaded / event.total);
    sending.onload = () =>
      resolve({
        status: sending.status,
        text: sending.responseText,
        retryAfter: sending.getResponseHeader("retry-after"),
      });
    sending.onerror = () => reject(new Problem(0, NO_RESPONSE));
    sending.onabort = () => reject(aborted());
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}

// Server-sent events

/** Parses an event stream, fed in pieces that may end anywhere. */
class EventParser {
  #rest = "";
  #event = "message";
  #id = null;
  #data = [];

  /** The events that a piece completes. */
  *feed(piece) {
    // A carriage return at the end may be the first half of a CRLF.
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line !== "") this.#read(line);
      else {
        if (this.#data.length)
          yield { event: this.#event, id: this.#id, data: this.#data.join("\n") };
        this.#event = "message";
        this.#data = [];
      }
    }
  }

  #read(line) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
  }
}

/**
 * The events of a response as they arrive: `{event, data, id}`, `data` a string.
 *
 * Not EventSource, which can neither post nor send a key. With `silence` the stream ends after
 * that many milliseconds without a byte: so a connection looks that broke unnoticed.
 */
export async function* events(response, { silence = 0 } = {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await within(silence, reader.read());
      if (done) return;
      yield* parser.feed(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The result of a read, or the end of the stream if it takes longer than `milliseconds`. */
function within(milliseconds, reading) {
  if (!milliseconds) return reading;
  let timer;
  const over = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds, { done: true });
  });
  return Promise.race([reading, over]).finally(() => clearTimeout(timer));
}
