// The API: every endpoint, as the server's OpenAPI document describes it, to read and to try. Whatever
// the page's language, the document is in English.

import { get, list } from "../api.js";
import { counted, isEnglish, LANGUAGE, t, woven } from "../language.js";
import { SERVER } from "../root.js";
import { el, field, heading, message, number } from "../ui.js";
import { endpoint } from "./docs/endpoint.js";
import { prose } from "./docs/prose.js";
import { anchorOf, sections } from "./docs/schema.js";

export const create = () => new Docs();

const ENGLISH = { lang: "en" };
const IN_ENGLISH = t("The descriptions of the endpoints and their fields are in English.");

class Docs {
  #search = el("input", { type: "search", name: "search", autocomplete: "off" });
  #found = el("p", { class: "soft small", role: "status" });
  #said = message();
  #about = el("div", { class: "about", ...ENGLISH });
  #note = el("p", { class: "soft", hidden: isEnglish }, IN_ENGLISH);
  #sections = el("div", { class: "sections" });
  #contents = el("nav", { class: "contents", "aria-label": t("Endpoints") });
  /** Each endpoint's element with the words that it is found by. */
  #endpoints = [];
  #isLoaded = null;

  constructor() {
    this.#search.addEventListener("input", () => this.#filter());
    this.root = el(
      "div",
      { class: "view docs" },
      heading(
        t("API"),
        t("Everything that these pages do, for programs. Try each call right here."),
      ),
      this.#said.place,
      el(
        "div",
        { class: "docs-page" },
        el("div", { class: "rail" }, field(t("Find"), this.#search), this.#found, this.#contents),
        el("div", {}, this.#note, this.#about, this.#sections),
      ),
    );
  }

  show(url) {
    void this.#show(url.hash.slice(1));
  }

  async #show(anchor) {
    this.#isLoaded ??= this.#load().catch((error) => {
      this.#isLoaded = null;
      throw error;
    });
    await this.#isLoaded;
    this.#reveal(anchor);
  }

  async #load() {
    const document = await get("/openapi.json");
    const models = offered();
    const { description = "", version } = document.info;
    const facts = el(
      "p",
      { class: "soft", lang: LANGUAGE },
      ...woven("{version} at {server}", {
        version: `charloom ${version}`,
        server: el("code", {}, SERVER),
      }),
      " · ",
      el("a", { href: "/openapi.json" }, "openapi.json"),
    );
    this.#about.replaceChildren(facts, ...prose(description));
    this.#endpoints = [];
    const parts = sections(document).map(([tag, operations]) => {
      const title = el("h2", ENGLISH, tag.charAt(0).toUpperCase() + tag.slice(1));
      const drawn = operations.map((one) => this.#endpoint(one, document, models));
      this.#contents.append(
        el("p", { class: "tag", ...ENGLISH }, title.textContent),
        linksTo(operations),
      );
      return el("section", {}, title, ...drawn);
    });
    this.#sections.replaceChildren(...parts);
    this.#filter();
  }

  #endpoint(operation, document, models) {
    const root = endpoint(operation, document, models);
    const { method, path, summary, description } = operation;
    const words = `${method} ${path} ${summary} ${description}`.toLowerCase();
    this.#endpoints.push({ root, words });
    return root;
  }

  #filter() {
    const wanted = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const { root, words } of this.#endpoints) {
      root.hidden = !wanted.every((word) => words.includes(word));
      found += root.hidden ? 0 : 1;
      const link = this.#contents.querySelector(`a[href="#${root.id}"]`);
      link.parentElement.hidden = root.hidden;
    }
    for (const section of this.#sections.children)
      section.hidden = ![...section.querySelectorAll(".endpoint")].some(({ hidden }) => !hidden);
    this.#found.textContent = counted(found, number(found), "{n} endpoint", "{n} endpoints");
  }

  #reveal(anchor) {
    const chosen = this.#endpoints.find(({ root }) => root.id === anchor)?.root;
    if (!chosen) return;
    chosen.open = true;
    chosen.scrollIntoView({ block: "start" });
  }
}

/** Names of models to offer, those that ship first; none where they cannot be listed. */
const offered = () =>
  list("/models", "models").then(
    (models) =>
      models
        .toSorted((a, b) => Number(b.pretrained) - Number(a.pretrained))
        .map(({ model }) => model),
    () => [],
  );

const linksTo = (operations) =>
  el(
    "ul",
    {},
    ...operations.map((one) =>
      el(
        "li",
        {},
        el(
          "a",
          { href: `#${anchorOf(one)}` },
          el("span", { class: `method ${one.method.toLowerCase()}` }, one.method),
          one.path,
        ),
      ),
    ),
  );
