// Puts the names on another page: the HTML for it, what the server must be told, and whether it
// knows already; and the same without a server.

import { get } from "../../api.js";
import { t, woven } from "../../language.js";
import { download, fileOf } from "../../parts/download.js";
import { SERVER } from "../../root.js";
import { copy, el, field, message } from "../../ui.js";
import { isReachable, originOf, settingsFor, snippet } from "./origins.js";

/** The pause in typing after which the origin is tried. */
const SETTLE_MILLISECONDS = 500;

export class Embedding {
  #model = "";
  #timer = 0;
  #asked = 0;
  #page = el("input", {
    type: "url",
    placeholder: "https://example.org",
    autocomplete: "off",
    spellcheck: "false",
  });
  #code = el("code");
  #offline = el("code");
  #setting = el("code");
  #needed = el("div", { class: "embed-part", hidden: true });
  #said = message();
  #reach = el("p", { class: "warning small", hidden: true });
  #tryAgain = el("button", { type: "button" }, t("Test again"));
  #saveModel = el("button", { type: "button" });

  constructor() {
    this.#page.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#test(), SETTLE_MILLISECONDS);
    });
    this.#tryAgain.addEventListener("click", () => this.#test());
    this.#saveModel.addEventListener("click", () => this.#save());
    this.root = el(
      "section",
      { class: "embed", "aria-labelledby": "embed-title" },
      el("h2", { id: "embed-title" }, t("Put it on your own page")),
      el("p", { class: "soft" }, t("It adopts the colours and fonts of your page.")),
      this.#withServer(),
      this.#withoutServer(),
    );
  }

  #withServer() {
    this.#needed.append(
      el(
        "p",
        {},
        t(
          "The server must know that. Add it to its settings (an origin after a comma, if there are others), and restart it:",
        ),
      ),
      pre(this.#setting, t("Settings of the server")),
      el("div", { class: "actions" }, this.#tryAgain),
    );
    return el(
      "div",
      { class: "embed-part" },
      el(
        "div",
        { class: "origin" },
        field(t("Address of your page"), this.#page, { name: "origin" }),
      ),
      this.#said.place,
      this.#needed,
      this.#reach,
      pre(this.#code, t("HTML to embed the names")),
    );
  }

  #withoutServer() {
    const script = { class: "button", href: "/widget/charloom-names.js", download: true };
    return el(
      "details",
      {},
      el("summary", {}, t("Without a server")),
      el(
        "div",
        { class: "embed-part" },
        el(
          "p",
          {},
          t(
            "Put two files beside your page, on any site of files. The names are then made in the browser.",
          ),
        ),
        el(
          "div",
          { class: "actions" },
          this.#saveModel,
          el("a", script, t("Save {file}", { file: "charloom-names.js" })),
        ),
        pre(this.#offline, t("HTML to embed the names without a server")),
        el(
          "p",
          { class: "soft small" },
          ...woven(
            "The file contains the model: anyone who has it can keep drawing names from it. Open your page over HTTP, not from a disk. A content security policy needs {policy}.",
            { policy: el("code", {}, "connect-src 'self'; worker-src blob:") },
          ),
        ),
      ),
    );
  }

  /** Shows the HTML for what is wanted: the widget's attributes as pairs. */
  show(attributes) {
    this.#model = Object.fromEntries(attributes).model;
    const file = fileOf({ model: this.#model }, "html");
    const others = attributes.filter(([name]) => name !== "model");
    this.#code.textContent = snippet(`${SERVER}/widget/`, attributes);
    this.#offline.textContent = snippet("", [["src", file], ...others]);
    this.#saveModel.textContent = t("Save {file}", { file });
    if (!isReachable(SERVER)) this.#warn();
  }

  #warn(origin = null) {
    const isMixed = origin?.startsWith("https:") && SERVER.startsWith("http:");
    const local = t(
      "Only this computer reaches {server}. Open this page at the address that others use, and the HTML has it.",
      { server: SERVER },
    );
    const mixed = t("Browsers let no page with HTTPS ask {server}, which has none.", {
      server: SERVER,
    });
    const isLocal = !isReachable(SERVER);
    this.#reach.hidden = !isLocal && !isMixed;
    this.#reach.textContent = isLocal ? local : mixed;
  }

  /** Asks the server whether pages of the origin may draw names. */
  async #test() {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    const text = this.#page.value.trim();
    const origin = originOf(text);
    this.#needed.hidden = true;
    if (!origin) {
      this.#said.say(text ? t("An address such as https://example.org is needed.") : "", "problem");
      return;
    }
    try {
      const query = new URLSearchParams({ origin });
      const access = await get(`/widget/access?${query}`);
      if (asked === this.#asked) this.#tell(origin, access);
    } catch (error) {
      if (asked === this.#asked) this.#said.say(error.message, "problem");
    }
  }

  #tell(origin, access) {
    const settings = settingsFor(origin, access);
    this.#warn(origin);
    this.#needed.hidden = !settings.length;
    this.#setting.textContent = settings.join("\n");
    if (!access.allowed) this.#said.say(t("{origin} isn't allowed yet.", { origin }), "problem");
    else if (access.needs_key) this.#said.say(t("Visitors would need an API key."), "problem");
    else this.#said.say(t("Pages of {origin} may draw names here.", { origin }));
  }

  async #save() {
    try {
      await download({ model: this.#model }, "html", this.#saveModel);
    } catch (error) {
      this.#said.say(error.message, "problem");
    }
  }
}

/** Code with a button that copies it. */
function pre(code, label) {
  const button = el(
    "button",
    { type: "button", class: "quiet", "aria-label": t("Copy {what}", { what: label }) },
    t("Copy"),
  );
  button.addEventListener("click", () => copy(code.textContent, button));
  const place = { tabindex: "0", role: "region", "aria-label": label };
  return el("div", { class: "copied" }, el("pre", place, code), button);
}
