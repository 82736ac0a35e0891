// Names: what a model of a list makes up, a shelf for those that somebody keeps, and the HTML that
// puts names on another page. The address holds the model, the limits and the seed.

import { Latest, list } from "../api.js";
import { authorization } from "../key.js";
import { counted, t, woven } from "../language.js";
import { SERVER } from "../root.js";
import { copy, el, heading, message, number, sentence } from "../ui.js";
import { Embedding } from "./names/embedding.js";
import { WantedForm } from "./names/form.js";
import { Kept } from "./names/kept.js";
import { lists } from "./names/origins.js";
import { Shelf } from "./names/shelf.js";
import { attributesOf, fromQuery, inWords, toQuery } from "./names/wanted.js";
import { drawn } from "../../../../widget/charloom-names.js";

/** The pause in typing after which new names are drawn. */
const SETTLE_MILLISECONDS = 350;
const RANDOM_SEEDS = 1_000_000_000;

export const create = ({ go }) => new Names(go);

class Names {
  #go;
  #kept = new Kept();
  #form = new WantedForm({ changed: () => this.#drawSoon(), submitted: () => this.#draw() });
  #list = el("ol", { class: "names", "aria-label": t("Names"), "aria-live": "polite" });
  #facts = el("p", { class: "facts", role: "status" });
  #said = message();
  #more = el("button", { type: "button", class: "primary" }, t("More names"));
  #copy = el("button", { type: "button", class: "quiet" }, t("Copy all"));
  #embedding = new Embedding();
  #empty = el(
    "p",
    { class: "message note", hidden: true },
    ...woven("No model has been trained on a list yet. {train}", {
      train: el("a", { href: "/train" }, t("Train one on names, one per line.")),
    }),
  );
  #drawing = new Latest();
  #isDrawing = false;
  #timer = 0;
  /** The query of the address that is shown. */
  #query = null;

  constructor(go) {
    this.#go = go;
    this.#more.addEventListener("click", () => (this.#isDrawing ? this.#stop() : this.#draw()));
    this.#copy.addEventListener("click", () => {
      const names = [...this.#list.children].map((item) => `${item.textContent}\n`);
      copy(names.join(""), this.#copy);
    });
    this.#list.addEventListener("click", ({ target }) => this.#toggle(target.closest("button")));
    this.#kept.addEventListener("change", () => this.#markKept());
    this.root = el("div", { class: "view" }, ...this.#parts());
  }

  #parts() {
    const lead = t(
      "A network that has read a list of names makes up more like them: for a novel, a game, a cat. A new one is not in that list; somebody may be called so all the same.",
    );
    const page = el(
      "section",
      { class: "card", "aria-label": t("The names") },
      this.#list,
      this.#said.place,
      el("div", { class: "actions" }, this.#more, this.#copy, this.#facts),
    );
    return [
      heading(t("Names like those in a list"), lead),
      this.#empty,
      el(
        "div",
        { class: "write" },
        el("div", { class: "names-page" }, page, new Shelf(this.#kept).root),
        this.#form.root,
      ),
      this.#embedding.root,
    ];
  }

  show(url) {
    void this.#show(url);
  }

  hide() {
    clearTimeout(this.#timer);
  }

  async #show(url) {
    const found = lists(await list("/models", "models"));
    const models = found.map(({ model }) => model);
    this.#form.offer(found);
    this.#empty.hidden = models.length > 0;
    const given = fromQuery(url.searchParams);
    if (given && url.search !== this.#query) this.#open(given, models);
    // As it was left.
    else if (this.#query) this.#go(`/names${this.#query}`, { replace: true, quietly: true });
    else if (models.length) this.#draw();
  }

  /** Shows what an address asks for. */
  #open(given, models) {
    this.#form.wanted = given;
    if (given.model && !models.includes(given.model)) {
      const message = t(
        "{model} has no names to give: it does not exist, or was not trained on a list",
        { model: given.model },
      );
      this.#form.refuse([{ field: "model", message }]);
    } else if (models.length) this.#draw(given.seed);
  }

  #drawSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#draw(), SETTLE_MILLISECONDS);
  }

  /** Draws names in place of those that are there, which stay until the first one comes. */
  async #draw(seed = String(Math.floor(Math.random() * RANDOM_SEEDS))) {
    clearTimeout(this.#timer);
    if (!this.#form.check() || !this.#form.model) return;
    const wanted = { ...this.#form.wanted, seed };
    const signal = this.#drawing.begin();
    this.#said.clear();
    this.#mark(true);
    try {
      await this.#receive(wanted, signal);
    } catch (error) {
      if (!signal.aborted) this.#refused(error);
    }
    if (!signal.aborted) this.#mark(false);
  }

  async #receive(wanted, signal) {
    const url = new URL(`${SERVER}/names?${toQuery(wanted)}`);
    let found = 0;
    for await (const name of drawn(url, { headers: authorization(), signal })) {
      if (signal.aborted) return;
      if (!found) this.#begin(wanted);
      found += 1;
      this.#list.append(this.#item(name, wanted.model));
      this.#facts.textContent = counted(found, number(found), "{n} name", "{n} names");
    }
    if (signal.aborted) return;
    if (!found) this.#begin(wanted);
    const asked = Number(wanted.count || 10);
    if (found >= asked) return;
    const shares = { n: number(found), asked: number(asked) };
    this.#facts.textContent = found
      ? t("Found {n} of {asked}: more like these are rare, or do not exist.", shares)
      : t("Found {n} of {asked}: such names are rare, or do not exist.", shares);
  }

  /** Makes room for the names that are wanted, and shows them to be. */
  #begin(wanted) {
    // As high as it was until the new names are there: the page around it must not jump.
    this.#list.style.minHeight = `${this.#list.offsetHeight}px`;
    this.#list.replaceChildren();
    this.#query = `?${toQuery(wanted)}`;
    if (this.root.isConnected) this.#go(`/names${this.#query}`, { replace: true, quietly: true });
    this.#embedding.show(attributesOf(wanted));
  }

  #stop() {
    this.#drawing.abort();
    this.#mark(false);
  }

  #mark(isDrawing) {
    this.#isDrawing = isDrawing;
    this.#more.textContent = isDrawing ? t("Stop") : t("More names");
    this.#list.setAttribute("aria-busy", String(isDrawing));
    this.#copy.hidden = isDrawing || !this.#list.children.length;
    if (!isDrawing) this.#list.style.minHeight = "";
  }

  #refused({ status, errors: refused = [], message: text }) {
    const errors = refused.map((error) => ({ ...error, message: inWords(error.message) }));
    if (errors.length && this.#form.refuse(errors)) return;
    const whole = errors.map(({ field, message }) => `${field} ${message}`).join("; ");
    const gone = status === 404 && t("This model does not exist any more.");
    this.#said.say(gone || sentence(whole || text), "problem");
  }

  // Keeping

  #item(name, model) {
    const isKept = this.#kept.has(name);
    const data = { name, model };
    const properties = { type: "button", class: "name", data, "aria-pressed": String(isKept) };
    return el("li", {}, el("button", properties, name));
  }

  #toggle(button) {
    if (!button) return;
    const { name, model } = button.dataset;
    if (this.#kept.has(name)) this.#kept.drop(name);
    else this.#kept.keep(name, model);
  }

  #markKept() {
    for (const button of this.#list.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(this.#kept.has(button.dataset.name)));
  }
}
