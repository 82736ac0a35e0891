// A model's card: what it writes, its figures, who won, how its loss went, and what to do with it.
// Knows no request: its actions and its history come from the page.

import { sparkline } from "../../parts/chart.js";
import { contexts, verdict } from "../../parts/ngram.js";
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
    el("p", { class: "soft small" }, whyPlain(model)),
    el(
      "div",
      { class: "actions" },
      button("Delete", model, () => remove(model)),
    ),
  );
}

/** `detail` is what is wrong with a model whose files are damaged. */
const whyPlain = ({ detail }) =>
  detail ? `Damaged: ${detail}.` : "The figures of this model cannot be shown.";

/** Says that the files of a newer checkpoint are damaged. */
const notice = ({ damaged }) =>
  damaged?.length
    ? el("p", { class: "message note" }, `The newest checkpoint is damaged: ${damaged[0]}.`)
    : null;

function title(group, { pin, select }) {
  const { name, main } = group;
  const shownTag = main.tag === "latest" ? null : el("span", { class: "soft" }, `:${main.tag}`);
  const change = ({ target }) => select(group, target.checked);
  const chosen = el("input", { type: "checkbox", "aria-label": `Select ${name}`, on: { change } });
  const pinned = el(
    "button",
    {
      type: "button",
      class: "quiet pin",
      "aria-pressed": String(Boolean(main.pinned)),
      "aria-label": `Pin ${name}`,
      on: { click: () => pin(group) },
    },
    main.pinned ? "Pinned" : "Pin",
  );
  return el(
    "div",
    { class: "title-line" },
    el("div", { class: "picked" }, chosen, el("h2", {}, name, shownTag)),
    main.pretrained
      ? el("span", { class: "badge", title: "Ships with charloom" }, "shipped")
      : null,
    pinned,
  );
}

/** Who won, and where the network did not, a way to train on. */
function conclusion(model, { more }) {
  const found = verdict(model.val_loss, model.baseline?.val_loss, model.baseline?.ngram_order);
  if (!found) return null;
  const isOffered = !found.isBetter && model.job_id && !model.pretrained;
  const label = `Train ${MORE_MINUTES} more minutes`;
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
    figure("bpc", loss(bpc), `${loss(value)} nats`),
    baseline?.bpc ? figure(ngram, loss(baseline.bpc), `${loss(baseline.val_loss)} nats`) : null,
    figure("parameters", short(parameters), size),
    model.ngram_orders ? figure("n-gram table", bytes(model.table_bytes), contexts(model)) : null,
  );
}

const figure = (label, value, more) =>
  el("div", {}, el("dt", {}, label), el("dd", {}, value), el("dd", { class: "soft" }, more));

function about({ vocabulary_size: size, corpus, created_at: created }) {
  const facts = [
    `${number(size)} distinct ${corpus?.tokens === "bytes" ? "bytes" : "characters"}`,
    corpus?.characters ? `trained on ${short(corpus.characters)}` : null,
    created ? when(created) : null,
  ].filter(Boolean);
  return el(
    "p",
    { class: "soft small" },
    ...facts.flatMap((fact, i) => (i ? [" · ", fact] : fact)),
  );
}

function buttons(group, { download, note, remove, rename }) {
  const { main } = group;
  const { job_id: job, pretrained, names } = main;
  const query = new URLSearchParams({ model: main.model });
  return el(
    "div",
    { class: "actions" },
    el("a", { class: "button", href: `/#${query}` }, "Write"),
    names ? el("a", { class: "button quiet", href: `/names?${query}` }, "Names") : null,
    el("a", { class: "button quiet", href: `/inside?${query}` }, "Inside"),
    job && !pretrained ? el("a", { class: "button quiet", href: `/train/${job}` }, "Job") : null,
    button("Download", main, ({ target }) => download(main, "zip", target)),
    button("As a page", main, ({ target }) => download(main, "html", target)),
    button("Notes", main, () => note(group)),
    button("Rename", { model: group.name }, () => rename(group)),
    button("Delete", main, () => remove(group)),
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
      el("span", { class: "soft small" }, ...tagFacts(model)),
      el(
        "span",
        { class: "actions" },
        el("a", { class: "button quiet", href: `/#${query}` }, "Write"),
        button("Download", model, ({ target }) => download(model, "zip", target)),
        button("Delete", model, () => remove(model)),
      ),
    );
  });
  const many = others.length === 1 ? "1 other tag" : `${number(others.length)} other tags`;
  return el("details", { class: "tags" }, el("summary", {}, many), el("ul", {}, ...rows));
}

const tagFacts = ({ tag, bpc, created_at: created }) => [
  ...(JOB.test(tag) ? ["of an earlier job · "] : []),
  `${loss(bpc)} bpc · `,
  when(created),
];

const button = (label, { model }, click) =>
  el(
    "button",
    { type: "button", class: "quiet", "aria-label": `${label} ${model}`, on: { click } },
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
  const label = `Loss over ${number(last[0])} steps, from ${loss(first[1])} to ${loss(last[1])}`;
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
