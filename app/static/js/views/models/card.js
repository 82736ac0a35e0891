// A model's card: what it writes, its figures, who won, how its loss went, and what to do with it.
// Knows no request: its actions and its history come from the page.

import { counted, t, woven } from "../../language.js";
import { sparkline } from "../../parts/chart.js";
import { contexts, verdict } from "../../parts/ngram.js";
import { saying } from "../../reported.js";
import { bytes, el, loss, number, short, when } from "../../ui.js";
import { lineOf } from "./collection.js";

/** Minutes that a model which has not won is offered. */
export const MORE_MINUTES = 3;
const JOB = /^[0-9a-f]{22}$/;

/**
 * The card of a group of tags. `actions` are called with what they are about: `download` with a
 * model, a format and the button, `remove` with a model or a group, `pin`, `note` and `rename` with a
 * group, `more` with a model, `select` with a group and whether it is selected. `history` resolves to a
 * model's.
 */
export function card(group, actions, history) {
  const { main, others } = group;
  const line = el("div", { class: "history" });
  const sample = el("p", { class: "sample-line", hidden: true });
  const item = el(
    "li",
    { class: "card model" },
    title(group, actions),
    notice(main),
    sample,
    conclusion(main, actions),
    figures(main),
    line,
    about(main),
    main.notes ? el("p", { class: "notes" }, main.notes) : null,
    buttons(group, actions),
    others.length ? tags(others, actions) : null,
  );
  whenSeen(item, async () => {
    const { points, samples } = await history(main);
    sample.textContent = lineOf(samples, main.names);
    sample.hidden = !sample.textContent;
    drawHistory(lossCurve(points), line);
  });
  return item;
}

/** The card of a model of which more cannot be shown: what it is called, and a way to be rid of it. */
export function plainCard(model, { remove }) {
  return el(
    "li",
    { class: "card model" },
    el("div", { class: "title-line" }, el("h2", {}, model.model)),
    el("p", { class: "soft small" }, ...whyPlain(model)),
    el(
      "div",
      { class: "actions" },
      button(t("Delete"), model, () => remove(model)),
    ),
  );
}

/** `detail` is what is wrong with a model whose files are damaged. */
const whyPlain = ({ detail }) =>
  detail
    ? woven("Damaged: {damage}.", { damage: saying(detail, String) })
    : [t("The figures of this model cannot be shown.")];

/** Says that the files of a newer checkpoint are damaged. */
const notice = ({ damaged }) =>
  damaged?.length ? el("p", { class: "message note" }, ...damageOf(damaged[0])) : null;

const damageOf = (damage) =>
  woven("The newest checkpoint is damaged: {damage}.", { damage: saying(damage, String) });

function title(group, { pin, select }) {
  const { name, main } = group;
  const shownTag = main.tag === "latest" ? null : el("span", { class: "soft" }, `:${main.tag}`);
  const change = ({ target }) => select(group, target.checked);
  const chosen = el("input", {
    type: "checkbox",
    "aria-label": t("Select {model}", { model: name }),
    on: { change },
  });
  const pinned = el(
    "button",
    {
      type: "button",
      class: "quiet pin",
      "aria-pressed": String(Boolean(main.pinned)),
      "aria-label": t("Pin {model}", { model: name }),
      on: { click: () => pin(group) },
    },
    main.pinned ? t("Pinned") : t("Pin"),
  );
  return el(
    "div",
    { class: "title-line" },
    el("div", { class: "picked" }, chosen, el("h2", {}, name, shownTag)),
    main.pretrained
      ? el("span", { class: "badge", title: t("Ships with charloom") }, t("shipped"))
      : null,
    pinned,
  );
}

/** Who won, and where the network did not, a way to train on. */
function conclusion(model, { more }) {
  const found = verdict(model.val_loss, model.baseline?.val_loss, model.baseline?.ngram_order);
  if (!found) return null;
  const isOffered = !found.isBetter && model.job_id && !model.pretrained;
  const label = t("Train {minutes} more minutes", { minutes: MORE_MINUTES });
  return el(
    "div",
    { class: "verdict" },
    el("p", { class: found.isBetter ? "won" : null }, found.words),
    isOffered ? el("button", { type: "button", on: { click: () => more(model) } }, label) : null,
  );
}

function figures(model) {
  const { bpc, val_loss: value, baseline, parameters, config, network } = model;
  const size = `${config.num_layers}×${config.hidden_size} ${network.toUpperCase()}`;
  const ngram = `${baseline?.ngram_order ?? "n"}-gram`;
  return el(
    "dl",
    { class: "figures" },
    figure(t("bpc"), loss(bpc), nats(value)),
    baseline?.bpc ? figure(ngram, loss(baseline.bpc), nats(baseline.val_loss)) : null,
    figure(t("parameters"), short(parameters), size),
    model.ngram_orders
      ? figure(t("n-gram table"), bytes(model.table_bytes), contexts(model))
      : null,
  );
}

const nats = (value) => t("{loss} nats", { loss: loss(value) });

const figure = (label, value, more) =>
  el("div", {}, el("dt", {}, label), el("dd", {}, value), el("dd", { class: "soft" }, more));

function about({ vocabulary_size: size, corpus, created_at: created }) {
  const facts = [
    corpus?.tokens === "bytes"
      ? t("{n} distinct bytes", { n: number(size) })
      : t("{n} distinct characters", { n: number(size) }),
    corpus?.characters ? t("trained on {n}", { n: short(corpus.characters) }) : null,
    created ? when(created) : null,
  ];
  return el("p", { class: "soft small" }, ...dotted(facts));
}

/** Facts with dots between them; null is none. */
const dotted = (facts) => facts.filter(Boolean).flatMap((fact, i) => (i ? [" · ", fact] : fact));

function buttons(group, { download, note, remove, rename }) {
  const { main } = group;
  const { job_id: job, pretrained, names } = main;
  const query = new URLSearchParams({ model: main.model });
  return el(
    "div",
    { class: "actions" },
    el("a", { class: "button", href: `/#${query}` }, t("Write")),
    names ? el("a", { class: "button quiet", href: `/names?${query}` }, t("Names")) : null,
    el("a", { class: "button quiet", href: `/inside?${query}` }, t("Inside")),
    job && !pretrained ? el("a", { class: "button quiet", href: `/train/${job}` }, t("Job")) : null,
    button(t("Download"), main, ({ target }) => download(main, "zip", target)),
    button(t("As a page"), main, ({ target }) => download(main, "html", target)),
    button(t("Notes"), main, () => note(group)),
    button(t("Rename"), { model: group.name }, () => rename(group)),
    button(t("Delete"), main, () => remove(group)),
  );
}

/** The other tags, folded. */
function tags(others, { download, remove }) {
  const rows = others.map((model) => {
    const query = new URLSearchParams({ model: model.model });
    return el(
      "li",
      {},
      el("span", { class: "tag" }, `:${model.tag}`),
      el("span", { class: "soft small" }, ...dotted(tagFacts(model))),
      el(
        "span",
        { class: "actions" },
        el("a", { class: "button quiet", href: `/#${query}` }, t("Write")),
        button(t("Download"), model, ({ target }) => download(model, "zip", target)),
        button(t("Delete"), model, () => remove(model)),
      ),
    );
  });
  const many = counted(others.length, number(others.length), "{n} other tag", "{n} other tags");
  return el("details", { class: "tags" }, el("summary", {}, many), el("ul", {}, ...rows));
}

const tagFacts = ({ tag, bpc, created_at: created }) => [
  JOB.test(tag) ? t("of an earlier job") : null,
  t("{bits} bpc", { bits: loss(bpc) }),
  when(created),
];

const button = (label, { model }, click) =>
  el(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-label": t("{action} {model}", { action: label, model }),
      on: { click },
    },
    label,
  );

/** Acts once an element comes near the screen: a history may be as large as all else of a page. */
function whenSeen(element, act) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
      observer.disconnect();
      void act();
    },
    { rootMargin: "200px" },
  );
  observer.observe(element);
}

function drawHistory(curve, place) {
  if (curve.length < 2) return;
  const [first, last] = [curve[0], curve.at(-1)];
  const label = t("Loss over {steps} steps, from {first} to {last}", {
    steps: number(last[0]),
    first: loss(first[1]),
    last: loss(last[1]),
  });
  place.append(sparkline(curve, label));
}

/** Steps and losses: of training, or of validation where training has hardly any. */
export function lossCurve(points) {
  const curve = (name) =>
    points
      .filter((point) => Number.isFinite(point[name]))
      .map((point) => [point.step, point[name]]);
  const trained = curve("train_loss");
  return trained.length > 2 ? trained : curve("val_loss");
}
