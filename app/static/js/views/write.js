// Write: a model, a prime, and the texts that follow, each of which is kept. The URL contains
// everything that decides the text.

import { list, Problem } from "../api.js";
import { t } from "../language.js";
import { el, reducedMotion } from "../ui.js";
import { Author } from "./write/author.js";
import { linkTo } from "./write/foot.js";
import { WritingForm } from "./write/form.js";
import { remember, remembered } from "./write/keeping.js";
import { fromHash, hashOfKept, keptIn, toHash } from "./write/link.js";
import { Stage } from "./write/stage.js";
import { Studio } from "./write/studio.js";
import { linkOf, primeOf } from "./write/variant.js";

/** Above this many characters per line a corpus counts as prose, not as a list. */
const PROSE_LINE = 20;
/** The model that is offered first. */
const FIRST_MODEL = "shakespeare";
const GONE = t("This text is not in this browser: it was kept in another one, or removed.");

export function create({ go }) {
  const view = new Write(go);
  return {
    root: view.root,
    show: (address) => void view.show(address.hash),
    hide: () => view.hide(),
  };
}

class Write {
  #go;
  #models = [];
  #isFirst = true;
  /** The URL fragment of what is shown. */
  #hash = null;
  #studio = new Studio({
    begun: (variant) => this.#author.begun(variant),
    wrote: (variant, text) => this.#stage.wrote(variant, text),
    ended: (variant, how) => {
      this.#author.ended(variant, how);
      this.#address({ replace: true });
    },
    changed: () => this.#draw(),
    view: () => this.#stage.variants.map(({ id }) => id),
  });
  #form = new WritingForm({
    submitted: () => this.#author.submitted(),
    changed: (how) => this.#author.settingsChanged(how),
    compared: () => this.#author.comparisonChanged(),
  });
  #stage = new Stage(this.#studio, {
    branch: (...change) => this.#author.branch(...change),
    ask: async (...character) => (await import("./write/asking.js")).detailsAt(...character),
    entered: () => this.#follow(),
    closed: (side) => this.#close(side),
    proceed: () => this.#author.proceed(),
    again: () => this.#author.again(),
    edit: () => void this.#author.edit(),
  });
  #author = new Author(
    { form: this.#form, stage: this.#stage, studio: this.#studio },
    {
      shown: (how) => this.#shown(how),
      closed: (side) => this.#close(side),
      draw: () => this.#draw(),
    },
  );
  /** The tree, which is fetched once there is something in it. */
  #branches = null;
  #variants = el("section", { class: "variants", "aria-label": t("Variants") });
  #empty = emptyPage();
  #desk = el(
    "div",
    { class: "write" },
    this.#stage.root,
    el("div", { class: "side" }, this.#variants, this.#form.root),
  );

  constructor(go) {
    this.#go = go;
    // A browser may keep a page that was left, and what it plays.
    addEventListener("pagehide", () => this.hide());
    const title = el("h1", { class: "heard" }, t("Write"));
    this.root = el("div", { class: "view" }, title, this.#empty, this.#desk);
  }

  /** Stops the music; a text is written on. */
  hide() {
    this.#stage.pause();
  }

  // What is shown

  /** Shows the text of a URL fragment; on the first visit without one the last text, or a new one. */
  async show(hash) {
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    await this.#studio.open();
    // What was kept is there without a server, too.
    const problem = await this.#refresh().then(
      () => null,
      (error) => error,
    );
    if (hash !== this.#hash) this.#route(hash, { isFirst });
    this.#draw();
    if (problem) throw problem;
  }

  async #refresh() {
    const isKept = this.#studio.tree.size > 0;
    this.#desk.hidden = !isKept;
    this.#models = await list("/models", "models");
    const offered = favourite(this.#models, remembered("model"));
    this.#form.offer(this.#models, offered?.model ?? "");
    this.#empty.hidden = this.#models.length > 0 || isKept;
    this.#desk.hidden = !this.#empty.hidden;
  }

  #route(hash, { isFirst }) {
    const { tree } = this.#studio;
    const wanted = fromHash(hash);
    const id = keptIn(hash);
    if (isFirst && this.#last.length > 1 && this.#isAbout(hash, this.#last[0]))
      this.#present(this.#last);
    else if (tree.has(id)) this.#present([tree.get(id)]);
    else if (id) this.#form.refuse(new Problem(0, GONE));
    else if (wanted) this.#open(wanted);
    else if (isFirst) this.#resume();
  }

  /** What was shown when the page was left. */
  get #last() {
    const ids = [remembered("shown") ?? []].flat();
    return ids.map((id) => this.#studio.tree.get(id)).filter(Boolean);
  }

  #isAbout(hash, variant) {
    return hash === hashOfKept(variant.id) || hash === linkTo(variant, null).hash;
  }

  /** Shows what was shown last; the first time, a random text. */
  #resume() {
    const { tree } = this.#studio;
    if (this.#last.length) this.#present(this.#last);
    else if (tree.size) this.#present([tree.all.at(-1)]);
    else if (this.#models.length && !reducedMotion())
      this.#author.start(this.#form.settings, { replace: true });
  }

  /** Opens what a link asks for: what was kept of it, or anew. */
  #open(wanted) {
    this.#form.fill(wanted);
    const { compare, temperature } = wanted;
    const temperatures = compare === null ? [temperature] : [temperature, compare];
    const kept = temperatures.map((one) => this.#keptAs({ ...wanted, temperature: one }));
    if (!kept.every(Boolean)) {
      this.#author.start({ ...this.#form.settings, seed: wanted.seed }, { replace: true });
      return;
    }
    this.#present(kept);
    for (const variant of kept) {
      const missing = wanted.length - variant.own;
      const { isWriting } = this.#studio.statusOf(variant);
      if (missing > 0 && !isWriting) void this.#studio.write(variant, missing);
    }
  }

  #keptAs({ model, style, prime, temperature, seed }) {
    if (seed === null) return undefined;
    const wanted = toHash({ model, style, prime, temperature, seed, length: 1, compare: null });
    return this.#studio.tree.all.find((variant) => {
      if (variant.seed !== seed || !variant.own) return false;
      const link = linkOf(variant);
      return link && toHash({ ...link, length: 1, compare: null }) === wanted;
    });
  }

  #present(variants, { replace = true } = {}) {
    this.#stage.present(variants);
    this.#shown({ replace });
  }

  /** Something else is shown: the URL and the tree follow, and the form unless it asked for it. */
  #shown({ replace = false, isAsked = false } = {}) {
    if (isAsked) this.#draw();
    else this.#follow();
    this.#address({ replace });
    remember(
      "shown",
      this.#stage.variants.map(({ id }) => id),
    );
  }

  /** Shows in the form what the text was written with. */
  #follow() {
    const { isPair, variants, variant } = this.#stage;
    if (variant) {
      const shown = isPair ? variants[0] : variant;
      const compare = isPair ? variants[1].temperature : null;
      this.#form.follow({ ...shown, prime: primeOf(shown), compare });
    }
    this.#draw();
  }

  #address({ replace }) {
    const [left, right = null] = this.#stage.variants;
    if (!left) return;
    const { left: missing } = this.#studio.statusOf(left);
    const link = left.own + missing ? linkTo(left, right, missing).hash : null;
    const hash = link ?? hashOfKept(left.id);
    this.#hash = hash;
    // Another view may be there by now.
    if (location.hash !== hash && this.root.isConnected) this.#go(hash, { replace, quietly: true });
  }

  #choose(variant) {
    this.#form.clear();
    this.#stage.place(this.#stage.active, variant);
    this.#shown();
  }

  /** Shows a variant beside the one that is there; one that is there, beside the one before it. */
  #compare(variant) {
    const other = variant && this.#stage.partnerOf(variant);
    if (!other) return;
    this.#present([other, variant], { replace: false });
    this.#stage.turnTo(1);
  }

  #close(side) {
    this.#present([this.#stage.on(1 - side)], { replace: false });
  }

  #restore(ids) {
    const variants = (ids ?? []).map((id) => this.#studio.tree.get(id)).filter(Boolean);
    if (variants.length) this.#present(variants);
  }

  #draw() {
    // What was removed is shown no more.
    const { tree } = this.#studio;
    const there = this.#stage.variants.filter(({ id }) => tree.has(id));
    if (there.length < this.#stage.variants.length) {
      const next = there.length ? there : [this.#branches?.current].filter(Boolean);
      this.#present(next);
      return;
    }
    this.#form.showWriting(this.#studio.isWriting);
    this.#stage.draw();
    const ids = this.#stage.variants.map(({ id }) => id);
    if (this.#branches) this.#branches.show(ids, this.#stage.variant?.id ?? null);
    else if (tree.size && !this.#studio.isWriting) void this.#fetchTree();
  }

  async #fetchTree() {
    const { Branches } = await import("./write/branches.js").catch(() => ({}));
    // Without a server it is fetched another time.
    if (!Branches || this.#branches) return;
    this.#branches = new Branches(this.#variants, this.#studio, {
      shown: (variant) => this.#choose(variant),
      compared: (variant) => this.#compare(variant),
      undo: () => this.#restore(this.#studio.undo()),
      redo: () => this.#restore(this.#studio.redo()),
    });
    this.#draw();
  }
}

/**
 * The model to offer: that of the last choice, or `shakespeare`; without it the newest of those
 * that write prose, as names do not fill a page.
 */
export function favourite(models, last = null) {
  const named = (name) => models.find(({ model }) => model === name);
  const isProse = ({ corpus }) => !corpus?.lines || corpus.characters / corpus.lines > PROSE_LINE;
  const newest = models.toSorted((a, b) => (b.created_at ?? "").localeCompare(a.created_at ?? ""));
  return named(last) ?? named(FIRST_MODEL) ?? newest.find(isProse) ?? newest[0];
}

function emptyPage() {
  return el(
    "div",
    { class: "empty", hidden: true },
    el("p", { class: "big" }, t("No models yet.")),
    el(
      "p",
      {},
      t(
        "Give charloom a text and watch a network learn to write like it. The first words appear within seconds.",
      ),
    ),
    el("p", {}, el("a", { class: "button primary", href: "/train" }, t("Train one"))),
  );
}
