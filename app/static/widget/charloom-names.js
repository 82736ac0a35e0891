// <charloom-names>: names from a charloom server, on any page of any site.
//
//   <script type="module" src="https://your-server/widget/charloom-names.js"></script>
//   <charloom-names model="names" temperature="0.8" starts-with="Ka" count="10"></charloom-names>
//
// Or without a server, from a file that `./charloom models names --download names.html` made:
//
//   <script type="module" src="charloom-names.js"></script>
//   <charloom-names src="names.html" temperature="0.8" count="10"></charloom-names>
//
// docs/widget.md has the attributes, methods, events and styling; charloom-names.d.ts their types.
// It is one file without dependencies, so that one line embeds it, and suits a strict content security
// policy: the style is a constructed sheet, and names are text.

const STYLE = `
:host {
  --_accent: var(--charloom-accent, light-dark(#4340a8, #aeacff));
  --_on-accent: var(--charloom-on-accent, light-dark(#fff, #16143a));
  --_line: var(--charloom-line, color-mix(in srgb, currentColor 18%, transparent));
  display: block; container-type: inline-size;
}
:host([hidden]) { display: none; }
ol { display: grid; gap: 0 1.5rem; align-content: start; min-height: calc(var(--_rows, 1) * 2.6em);
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--charloom-column, 9rem)), 1fr));
  margin: 0 0 1rem; padding: 0; list-style: none; }
li { box-sizing: border-box; min-height: 2.6em; padding: .55em 0; border-bottom: 1px solid var(--_line); overflow-wrap: anywhere; line-height: 1.5; }
div { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; }
p { margin: 0; font-size: .9em; opacity: .85; }
button { min-height: 2.5rem; padding: .4rem 1.1rem; border: 1px solid var(--_accent); cursor: pointer;
  border-radius: var(--charloom-radius, 8px); background: var(--_accent); color: var(--_on-accent);
  font: inherit; font-weight: 550; }
button:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
@media (prefers-reduced-motion: no-preference) {
  li { animation: come .25s ease-out; }
  @keyframes come { from { opacity: 0; transform: translateY(.3em); } } }
`;

/** Attributes that are sent, by what the server calls them. */
const QUERY = { "in-style": "style" };
for (const name of "model temperature contains pattern count seed".split(" ")) QUERY[name] = name;
for (const name of "starts-with ends-with min-length max-length".split(" "))
  QUERY[name] = name.replace("-", "_");
/** The server, which may be below a path: this file is at widget/charloom-names.js. */
const HERE = new URL("..", import.meta.url).href;
/** The server's defaults: of the count to tell when there are fewer, of all without a server. */
const DEFAULT_COUNT = 10;
const DEFAULTS = { temperature: 1, "min-length": 1, "max-length": 40, count: DEFAULT_COUNT };
/** Seeds that are drawn for a file are below this. */
const DRAWN_SEEDS = 2 ** 53;
// What visitors read; they know nothing of servers.
const UNAVAILABLE = "The names are unavailable right now. They come once they are back.";
const BUSY = "Many people are asking right now. The names come in a moment.";
const BROKEN_OFF = "The list breaks off here. Try again in a moment.";
const NOT_SET_UP = "The names are not set up for this page yet.";
const NOT_PUBLIC = "These names are not public.";
const NO_SUCH_NAME = "No name here can be like that.";
const UNKNOWN = "No name here has {characters} in it.";
const NONE_FOUND = "No such name was found.";
const NO_MORE = "There seem to be no more.";
const IN_JAPANESE = {
  Names: "名前",
  "More names": "ほかの名前",
  Stop: "停止",
  [UNAVAILABLE]: "いまは名前を表示できません。復旧しだい表示します。",
  [BUSY]: "ただいま混み合っています。しばらくすると表示されます。",
  [BROKEN_OFF]: "一覧が途中で切れました。少し待ってから、もう一度お試しください。",
  [NOT_SET_UP]: "このページでは、まだ名前を表示できません。",
  [NOT_PUBLIC]: "これらの名前は公開されていません。",
  [NO_SUCH_NAME]: "その条件に合う名前は作れません。",
  [UNKNOWN]: "{characters} を含む名前は作れません。",
  [NONE_FOUND]: "条件に合う名前は見つかりませんでした。",
  [NO_MORE]: "これ以上は見つからないようです。",
};
/** Fields that a visitor may have filled in. */
const WISHES = ["starts_with", "contains", "ends_with", "pattern", "min_length", "max_length"];
/** Pauses before it is tried again: the first, which doubles, and the longest. */
const AGAIN_MILLISECONDS = [5000, 60_000];
/** Attempts with nothing new after a list broke off; the pause before each doubles. */
const TRIES = 4;
const FIRST_PAUSE_MILLISECONDS = 250;
/** Attributes often change several at a time, and while a person types. */
const SETTLE_MILLISECONDS = 300;

let sheet = null;
let turns = 0;

export class CharloomNames extends HTMLElement {
  static observedAttributes = [...Object.keys(QUERY), "api", "novel", "label", "src"];

  headers = {};
  #list = document.createElement("ol");
  #status = document.createElement("p");
  #button = document.createElement("button");
  #controller = null;
  #timer = 0;
  /** Attempts in a row that failed but may succeed later. */
  #failures = 0;
  #told = "";
  /** Called when the network or the page is back. */
  #back;
  /** Resolves to the worker of the file in `src`. */
  #worker = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    if (!sheet) {
      sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
    }
    root.adoptedStyleSheets = [sheet];
    this.#list.part = "list";
    this.#list.setAttribute("aria-live", "polite");
    this.#status.part = "status";
    this.#status.setAttribute("role", "status");
    this.#button.part = "button";
    this.#button.type = "button";
    this.#button.addEventListener("click", () => (this.#controller ? this.stop() : this.draw()));
    this.#back = () => this.#failures && !document.hidden && this.draw();
    const foot = document.createElement("div");
    foot.append(this.#button, this.#status);
    root.append(this.#list, foot);
  }

  connectedCallback() {
    this.#show();
    addEventListener("online", this.#back);
    document.addEventListener("visibilitychange", this.#back);
    if (!this.hasAttribute("manual")) this.#soon(0);
  }

  disconnectedCallback() {
    removeEventListener("online", this.#back);
    document.removeEventListener("visibilitychange", this.#back);
    this.stop();
    this.#close();
  }

  attributeChangedCallback(name, before, after) {
    if (name === "src" && before !== after) this.#close();
    if (!this.isConnected || before === after) return;
    this.#show();
    if (name !== "label" && !this.hasAttribute("manual")) this.#soon(SETTLE_MILLISECONDS);
  }

  #soon(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.draw(), milliseconds);
  }

  #show() {
    this.#button.textContent = this.#controller
      ? inLanguageOf(this, "Stop")
      : this.getAttribute("label") || inLanguageOf(this, "More names");
    this.#list.setAttribute("aria-label", inLanguageOf(this, "Names"));
    this.#list.setAttribute("aria-busy", String(Boolean(this.#controller)));
  }

  /** Stops drawing; the names drawn so far stay. */
  stop() {
    clearTimeout(this.#timer);
    this.#controller?.abort();
    this.#controller = null;
    this.#show();
  }

  /** Draws new names in place of the old ones. */
  async draw() {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    this.#show();
    try {
      await this.#receive(controller.signal);
      this.#failures = 0;
    } catch (error) {
      await this.#failed(error, controller.signal);
    }
    if (this.#controller !== controller) return;
    this.#controller = null;
    this.#list.style.minHeight = "";
    this.#show();
  }

  async #receive(signal) {
    const names = [];
    const found = this.hasAttribute("src")
      ? this.#fromFile(signal)
      : drawn(this.#url(), { headers: this.headers, signal });
    for await (const name of found) {
      if (signal.aborted) return;
      if (!names.length) this.#begin();
      names.push(name);
      this.#add(name);
      this.#tell("charloom-name", { name });
    }
    if (signal.aborted) return;
    if (!names.length) this.#begin();
    if (!names.length) this.#status.textContent = inLanguageOf(this, NONE_FOUND);
    else if (names.length < Number(this.getAttribute("count") || DEFAULT_COUNT))
      this.#status.textContent = inLanguageOf(this, NO_MORE);
    this.#tell("charloom-done", { names });
  }

  /** Makes room for new names; until then the old ones stay. */
  #begin() {
    this.#status.textContent = "";
    // As high as it was until the new names are there: the page around it must not jump.
    this.#list.style.minHeight = `${this.#list.offsetHeight}px`;
    this.#list.replaceChildren();
  }

  async *#fromFile(signal) {
    this.#worker ??= opened(this.getAttribute("src"));
    // Kept only if it could be opened: the file may be there the next time.
    const worker = await this.#worker.catch((error) => {
      this.#worker = null;
      throw error;
    });
    const given = (name) => this.getAttribute(name) || DEFAULTS[name];
    const asked = {
      kind: "names",
      seed: given("seed") || String(Math.floor(Math.random() * DRAWN_SEEDS)),
      startsWith: this.getAttribute("starts-with") ?? "",
      style: this.getAttribute("in-style") ?? "",
      contains: this.getAttribute("contains") ?? "",
      endsWith: this.getAttribute("ends-with") ?? "",
      pattern: this.getAttribute("pattern") ?? "",
      temperature: Number(given("temperature")),
      minLength: Number(given("min-length")),
      maxLength: Number(given("max-length")),
      count: Number(given("count")),
      novel: this.hasAttribute("novel"),
    };
    for await (const { kind, piece, unknown, message } of answers(worker, asked, signal)) {
      if (kind === "blocked") {
        const detail = "the content security policy of this page needs worker-src blob:";
        throw new Refusal(0, NOT_SET_UP, { detail });
      }
      if (kind === "piece") yield* piece.map(({ name }) => name);
      if (unknown) throw new Refusal(422, UNKNOWN, { characters: unknown.join(" ") });
      if (message) throw new Refusal(0, NO_SUCH_NAME, { detail: message });
    }
  }

  #close() {
    this.#worker?.then((worker) => worker.terminate()).catch(() => {});
    this.#worker = null;
  }

  /** Says what is wrong, and tries again later where that may help. */
  async #failed(error, signal) {
    if (signal.aborted) return;
    const isUnexplained = error.status === 0 && !error.detail && !this.hasAttribute("src");
    const refusal = asRefusal(isUnexplained ? await explained(error, this.#server) : error);
    if (signal.aborted) return;
    const { status, detail } = refusal;
    const message = refusal.inLanguageOf(this);
    this.#status.textContent = message;
    if (detail && detail !== this.#told) console.error(`charloom-names: ${detail}`);
    this.#told = detail;
    this.#tell("charloom-error", { status, message, detail });
    this.#failures = refusal.isPassing ? this.#failures + 1 : 0;
    const [first, most] = AGAIN_MILLISECONDS;
    const pause = Math.max(1000 * refusal.retryAfter, first * 2 ** (this.#failures - 1));
    if (refusal.isPassing) this.#timer = setTimeout(this.#back, Math.min(most, pause));
  }

  get #server() {
    return (this.getAttribute("api") || HERE).replace(/\/*$/, "/");
  }

  #url() {
    const url = new URL("names", this.#server);
    for (const [attribute, field] of Object.entries(QUERY)) {
      const value = this.getAttribute(attribute);
      if (value) url.searchParams.set(field, value);
    }
    // Drawn here, to ask for the same names again where a server is lost.
    if (!url.searchParams.has("seed"))
      url.searchParams.set("seed", Math.floor(Math.random() * 2 ** 53));
    if (this.hasAttribute("novel")) url.searchParams.set("novel", "true");
    return url;
  }

  #add(name) {
    const item = document.createElement("li");
    item.part = "name";
    item.textContent = name;
    this.#list.append(item);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

/**
 * The names of a server, as a URL of `GET /names` with a seed asks for them, each as it is found;
 * the same come again from another server, or from this one once it is back. Throws a Refusal.
 */
export async function* drawn(url, { headers = {}, signal }) {
  const drawing = { url, headers, signal, count: 0, digest: null };
  for (let tries = 0; ; ) {
    const before = drawing.count;
    try {
      yield* answer(drawing);
      return;
    } catch (error) {
      const isPassing = drawing.count && !(error.status && error.status < 500);
      tries = drawing.count > before ? 1 : tries + 1;
      if (signal.aborted || !isPassing || tries > TRIES) throw asRefusal(error, drawing.count);
      await pause(FIRST_PAUSE_MILLISECONDS * 2 ** (tries - 1), signal);
    }
  }
}

/** The names of an answer without those that are there already. */
async function* answer(drawing) {
  const { url, headers, signal } = drawing;
  const response = await fetch(url, {
    headers: { Accept: "text/plain", ...headers },
    signal,
    credentials: "omit",
    cache: "no-store",
  });
  if (!response.ok) throw await refusal(response);
  const digest = response.headers.get("x-model-digest");
  // Another checkpoint draws other names.
  if (drawing.count && digest !== drawing.digest)
    throw new Refusal(409, BROKEN_OFF, { detail: "the model was replaced meanwhile" });
  drawing.digest = digest;
  let index = 0;
  for await (const name of namesOf(response.body)) {
    index += 1;
    if (index <= drawing.count) continue;
    drawing.count = index;
    yield name;
  }
}

/** The lines of a stream of UTF-8, each as soon as it is complete; empty ones are skipped. */
export async function* namesOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (done ? "\n" : value)).split("\n");
    rest = lines.pop();
    yield* lines.filter(Boolean);
    if (done) return;
  }
}

/** Waits, unless whoever asks stops meanwhile. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });
}

/** The worker of a file that charloom made of a model. */
async function opened(url) {
  const response = await fetch(url, { credentials: "omit" });
  if (!response.ok)
    throw new Refusal(response.status, UNAVAILABLE, {
      detail: `${url} is not there`,
      isPassing: true,
    });
  const text = await response.text();
  // Not parsed: a strict page would complain of the style in it.
  const [engine, model, weights] = ["engine", "model", "weights"].map(
    (id) => text.split(`id="${id}">`)[1]?.split("</script>")[0],
  );
  if (!engine || !JSON.parse(model).lines) {
    const detail = `${url} has no names to give: its model was not trained on a list`;
    throw new Refusal(0, NOT_SET_UP, { detail });
  }
  const address = URL.createObjectURL(new Blob([engine], { type: "text/javascript" }));
  const worker = new Worker(address);
  worker.postMessage({ kind: "open", model, weights });
  return worker;
}

/** A worker's answers to a request with a turn, up to the last one or until it is stopped. */
async function* answers(worker, asked, signal) {
  const waiting = [];
  let changed = Promise.withResolvers();
  turns += 1;
  const turn = turns;
  const take = (answer) => {
    if (answer?.turn === turn) waiting.push(answer);
    changed.resolve();
  };
  const ended = new AbortController();
  const listen = (target, type, heard) =>
    target.addEventListener(type, heard, { signal: ended.signal });
  listen(worker, "message", ({ data }) => take(data));
  listen(worker, "error", () => take({ kind: "blocked", turn }));
  listen(signal, "abort", () => take());
  worker.postMessage({ ...asked, turn });
  try {
    while (!signal.aborted) {
      if (!waiting.length) await changed.promise;
      changed = Promise.withResolvers();
      for (const answer of waiting.splice(0)) {
        yield answer;
        if (answer.kind !== "piece") return;
      }
    }
    worker.postMessage({ kind: "stop" });
  } finally {
    ended.abort();
  }
}

/**
 * Why there are no names: `message` for visitors, `detail` for the owner of the page, and of a
 * refusal the `errors` of its fields, as the server names and words them.
 */
export class Refusal extends Error {
  constructor(status, english, more = {}) {
    super(english);
    const { detail = "", errors = [], isPassing = false, retryAfter = 0, characters = "" } = more;
    Object.assign(this, { status, english, detail, errors, isPassing, retryAfter, characters });
    this.message = this.inLanguageOf(document.documentElement);
  }

  inLanguageOf(element) {
    return inLanguageOf(element, this.english).replace("{characters}", () => this.characters);
  }
}

/** Words in the language of the text around an element, else in the browser's, else in English. */
function inLanguageOf(element, english) {
  let language = "";
  // A shadow tree is within the language of its host.
  for (let at = element; at && !language; at = at.getRootNode().host)
    language = at.closest("[lang]")?.lang ?? "";
  const isJapanese = /^ja\b/i.test(language || navigator.language);
  return (isJapanese && IN_JAPANESE[english]) || english;
}

/** What was thrown, after so many names, as a Refusal. */
function asRefusal(error, count = 0) {
  if (error instanceof Refusal) return error;
  return new Refusal(0, count ? BROKEN_OFF : UNAVAILABLE, { isPassing: true });
}

/** Why the server refuses. */
async function refusal(response) {
  const { status } = response;
  const { detail = `it answers with the status ${status}`, errors } = await response
    .json()
    .catch(() => ({}));
  const more = { detail: `${response.url} gives no names: ${detail}`, errors };
  if (status === 429 || status >= 500) {
    const retryAfter = Number(response.headers.get("retry-after")) || 0;
    return new Refusal(status, BUSY, { ...more, isPassing: true, retryAfter });
  }
  if (status === 401 || status === 403) {
    more.detail += "; to open it to visitors, set CHARLOOM_PUBLIC=sample there";
    return new Refusal(status, NOT_PUBLIC, more);
  }
  const isWish = errors?.length && errors.every(({ field }) => WISHES.includes(field));
  return new Refusal(status, isWish ? NO_SUCH_NAME : NOT_SET_UP, more);
}

/** Finds out why no answer came, which a browser does not say; returns a Refusal. */
async function explained(error, base) {
  const server = base.replace(/\/$/, "");
  const refused = (detail) => new Refusal(0, NOT_SET_UP, { detail, isPassing: true });
  if (location.protocol === "https:" && server.startsWith("http:"))
    return refused(`a page with HTTPS may not ask ${server}, which has none`);
  const blocked = Promise.withResolvers();
  const note = ({ blockedURI }) => blockedURI.startsWith(server) && blocked.resolve("blocked");
  document.addEventListener("securitypolicyviolation", note);
  const asked = fetch(`${server}/widget/access`, { cache: "no-store", credentials: "omit" })
    .then((response) => response.json())
    .catch(() => null);
  // The event comes after the answer.
  const later = asked.then(async (answered) => answered ?? (await soon()));
  const access = await Promise.race([blocked.promise, later]);
  document.removeEventListener("securitypolicyviolation", note);
  if (access === "blocked")
    return refused(`the content security policy of this page needs connect-src ${server}`);
  if (access && !access.allowed)
    return refused(
      `${server} does not give names to pages of ${location.origin}: ` +
        "add it to CHARLOOM_CORS_ORIGINS there",
    );
  const detail = `${server} ${access ? "broke its answer off" : "does not answer"}`;
  return new Refusal(0, error.english, { detail, isPassing: true });
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 100, null));

if (!customElements.get("charloom-names")) customElements.define("charloom-names", CharloomNames);
