// A call made from the page: what is asked, as a curl line, and what comes back, as it comes.

import { NO_RESPONSE, wasAborted } from "../../api.js";
import { askForKey, authorization } from "../../key.js";
import { counted, t } from "../../language.js";
import { at, SERVER } from "../../root.js";
import { ask, bytes, copy, el, message, number, save } from "../../ui.js";
import { curlOf } from "./schema.js";

/** Characters of an answer that are shown; the rest can be saved. */
const SHOWN = 100_000;
const CUT = counted(
  SHOWN,
  number(SHOWN),
  "the first {n} character is shown",
  "the first {n} characters are shown",
);
/** Headers that say something about an answer. */
const TOLD =
  /^(content-type|content-length|location|retry-after|ratelimit.*|x-(?!request|content).*)$/;

export class Trial {
  #wanted;
  #curl = el("pre", {
    class: "code",
    tabindex: "0",
    role: "group",
    "aria-label": t("The call, for a shell"),
  });
  #send = el("button", { class: "primary" }, t("Send"));
  #save = el("button", { type: "button", class: "quiet", hidden: true }, t("Save the answer"));
  #said = message();
  #head = el("p", { class: "soft small", hidden: true });
  #body = el("pre", {
    class: "code answer",
    tabindex: "0",
    role: "group",
    "aria-label": t("The answer"),
    hidden: true,
  });
  #sending = null;
  #received = [];

  /** `wanted` returns the call: `{method, path, headers, body, file, isStream, needsKey}`. */
  constructor(wanted) {
    this.#wanted = wanted;
    const copied = el("button", { type: "button", class: "quiet" }, t("Copy"));
    copied.addEventListener("click", () => copy(this.#curl.textContent, copied));
    this.#save.addEventListener("click", () => save(new Blob(this.#received), "answer"));
    this.root = el(
      "div",
      { class: "trial" },
      el("div", { class: "curl" }, this.#curl, copied),
      el("div", { class: "actions" }, this.#send, this.#save),
      this.#said.place,
      this.#head,
      this.#body,
    );
    this.describe();
  }

  /** Shows the call as it would be made now. */
  describe() {
    const { path, headers, needsKey, ...call } = this.#wanted();
    const shown = needsKey ? [...headers, ["Authorization", "Bearer KEY"]] : headers;
    const file = call.file?.name ?? null;
    this.#curl.textContent = curlOf({ ...call, file, url: SERVER + path, headers: shown });
  }

  /** Makes the call, or stops the one that is being made. */
  async send() {
    if (this.#sending) {
      this.#sending.abort();
      return;
    }
    const call = this.#wanted();
    if (call.method === "DELETE" && !(await isSure(call))) return;
    this.#sending = new AbortController();
    this.#begin();
    try {
      await this.#show(await answered(call, this.#sending.signal));
    } catch (error) {
      if (!wasAborted(error)) this.#said.say(NO_RESPONSE, "problem");
    } finally {
      this.#sending = null;
      this.#send.textContent = t("Send");
    }
  }

  #begin() {
    this.#send.textContent = t("Stop");
    this.#received = [];
    this.#said.clear();
    this.#save.hidden = true;
    this.#head.hidden = true;
    this.#body.hidden = true;
    this.#body.textContent = "";
  }

  async #show(response) {
    const began = performance.now();
    const told = [...response.headers].filter(([name]) => TOLD.test(name));
    this.#tell(response);
    this.#head.textContent = told.map(([name, value]) => `${name}: ${value}`).join(" · ");
    this.#head.hidden = !told.length;
    const type = response.headers.get("content-type") ?? "";
    const isText = /^text\/|json/.test(type);
    this.#body.hidden = !isText;
    const decoder = new TextDecoder();
    let size = 0;
    for await (const chunk of chunksOf(response)) {
      this.#received.push(chunk);
      size += chunk.length;
      if (isText && this.#body.textContent.length < SHOWN)
        this.#body.append(decoder.decode(chunk, { stream: true }));
    }
    const facts = [bytes(size), `${number(performance.now() - began)} ms`];
    if (this.#body.textContent.length >= SHOWN) facts.push(CUT);
    this.#finish(type);
    this.#save.hidden = !size;
    this.#tell(response, facts);
  }

  /** The status, in the words of HTTP, and facts. */
  #tell({ ok, status, statusText }, facts = []) {
    const words = el("span", { lang: "en" }, `${status} ${statusText}`);
    this.#said.say(words, ok ? "note" : "problem", ...facts.map((fact) => ` · ${fact}`));
  }

  #finish(type) {
    const text = this.#body.textContent;
    if (/json$/.test(type.split(";")[0]) && text.length < SHOWN)
      this.#body.textContent = indented(text);
    this.#body.hidden ||= !text;
  }
}

async function answered(call, signal) {
  const { method, path, headers, body, file } = call;
  const options = { method, body: file ?? body ?? undefined, signal, cache: "no-store" };
  for (;;) {
    const response = await fetch(at(path), {
      ...options,
      headers: { ...Object.fromEntries(headers), ...authorization() },
    });
    if (response.status === 401 && (await askForKey(401))) continue;
    return response;
  }
}

async function* chunksOf(response) {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** JSON with its structure shown; anything else as it is. */
function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const isSure = ({ path }) =>
  ask({
    title: t("Delete it?"),
    text: t("{call} cannot be undone.", { call: `DELETE ${path}` }),
    confirm: t("Delete"),
    danger: true,
  });
