// The way to the server: requests, problems, the key, server-sent events. Knows no view.

import { ask, el, field, sentence } from "./ui.js";

const KEY = "charloom-key";

/** What the server answered instead (RFC 9457), or status 0 if it did not answer at all. */
export class Problem extends Error {
  constructor(status, detail, errors = [], retryAfter = 0) {
    super(detail);
    this.status = status;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }
}

export const wasAborted = (error) => error.name === "AbortError";

// The key, where the server wants one: asked for once, and kept as long as the tab. Not longer:
// who sits down at this computer next, and whatever serves another page at this address some day
// (localhost:8000 is many things), shall not find it.

let asking = null;
let isDeclined = false;

const storedKey = () => {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
};

/** The header that carries the key, if there is one. */
export const authorization = () => {
  const key = storedKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
};

/** Asks for a key, once for all who want one just now; false if there is to be none. */
function askForKey(status) {
  const known = storedKey();
  // Who put the question away is not nagged by what the page does by itself.
  if (isDeclined && !asking && !navigator.userActivation?.isActive) return false;
  asking ??= ask({
    title: "This server asks for a key",
    text:
      status === 403
        ? "The key that you gave may not do this. Another one may."
        : known
          ? "The key that you gave is not one of its keys."
          : "Whoever runs it has one for you. It is kept until you close this tab.",
    fields: [
      field(
        "Key",
        el("input", { name: "key", type: "password", required: true, autocomplete: "off" }),
      ),
    ],
    confirm: "Go on",
  }).then((given) => {
    asking = null;
    isDeclined = !given;
    if (!given) return false;
    sessionStorage.setItem(KEY, given.key.trim());
    return true;
  });
  return asking;
}

// Requests

/**
 * A response that is all right.
 *
 * `json` is sent as the body; other options are fetch's. Throws a Problem, or an AbortError.
 */
export async function request(path, { json, headers = {}, ...options } = {}) {
  if (json !== undefined) {
    options = { method: "POST", ...options, body: JSON.stringify(json) };
    headers = { "Content-Type": "application/json", ...headers };
  }
  for (;;) {
    let response;
    try {
      response = await fetch(path, {
        // A page and an answer may share a URL: an answer must not be shown as the page when
        // somebody goes back.
        cache: "no-store",
        ...options,
        headers: { Accept: "application/json", ...headers, ...authorization() },
      });
    } catch (error) {
      if (wasAborted(error)) throw error;
      throw new Problem(0, "The server does not answer. It may be starting, or away.");
    }
    if (response.ok) return response;
    const problem = problemOf(
      response.status,
      await response.text(),
      response.headers.get("retry-after"),
    );
    const aboutKeys = problem.status === 401 || (problem.status === 403 && storedKey());
    if (aboutKeys && (await askForKey(problem.status))) continue;
    throw problem;
  }
}

function problemOf(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Not ours: a proxy's, perhaps.
  }
  const detail = sentence(body.detail || body.title || `The server answered with ${status}.`);
  return new Problem(status, detail, body.errors, Number(retryAfter) || 0);
}

export const get = async (path, options) => (await request(path, options)).json();
export const post = async (path, json, options) =>
  (await request(path, { json, ...options })).json();
export const remove = (path) => request(path, { method: "DELETE" });

/** All items of a list that comes in pages, up to `most`. */
export async function list(path, name, most = 300) {
  const items = [];
  let cursor = null;
  do {
    const query = new URLSearchParams({ limit: "100", ...(cursor && { cursor }) });
    const page = await get(`${path}?${query}`);
    items.push(...page[name]);
    cursor = page.next;
  } while (cursor && items.length < most);
  return items;
}

/** What a path gives once the server has worked it out; `waiting` is called while it does. */
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
      reject(new DOMException("aborted", "AbortError"));
    });
  });
}

/** Sends a file; fetch can't tell how far it is, so this is done the old way. */
export async function upload(
  path,
  file,
  { type = "text/plain", progress = () => {}, signal } = {},
) {
  for (;;) {
    const { status, text, retryAfter } = await send(path, file, type, progress, signal);
    if (status >= 200 && status < 300) return JSON.parse(text);
    const problem = problemOf(status, text, retryAfter);
    if (status === 401 && (await askForKey(status))) continue;
    throw problem;
  }
}

function send(path, file, type, progress, signal) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", path);
    for (const [name, value] of Object.entries({ Accept: "application/json", ...authorization() }))
      sending.setRequestHeader(name, value);
    sending.setRequestHeader("Content-Type", type);
    sending.upload.onprogress = (event) =>
      event.lengthComputable && progress(event.loaded / event.total);
    sending.onload = () =>
      resolve({
        status: sending.status,
        text: sending.responseText,
        retryAfter: sending.getResponseHeader("retry-after"),
      });
    sending.onerror = () =>
      reject(new Problem(0, "The server does not answer. It may be starting, or away."));
    sending.onabort = () => reject(new DOMException("aborted", "AbortError"));
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}

// Server-sent events

function within(milliseconds, reading) {
  if (!milliseconds) return reading;
  let timer;
  const over = new Promise(
    (resolve) => (timer = setTimeout(resolve, milliseconds, { done: true })),
  );
  return Promise.race([reading, over]).finally(() => clearTimeout(timer));
}

/**
 * The events of a response, as they come: `{event, data, id}`, `data` a string.
 *
 * Not EventSource: that can't post, and can't send a key. With `silence` it ends after so many
 * milliseconds without a byte, which is how a connection that died unnoticed looks.
 */
export async function* events(response, { silence = 0 } = {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = "message";
  let id = null;
  let data = [];
  try {
    for (;;) {
      const { done, value } = await within(silence, reader.read());
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { event, id, data: data.join("\n") };
          event = "message";
          data = [];
          continue;
        }
        const [, name, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (name === "data") data.push(text);
        else if (name === "event") event = text;
        else if (name === "id") id = text;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
