// A model's card: its figures, how its loss went, and what to do with it. Knows no request but the
// one for the history.

import { get } from "../../api.js";
import { sparkline } from "../../parts/chart.js";
import { comparison, counted } from "../../parts/ngram.js";
import { bytes, el, loss, number, short, when } from "../../ui.js";

export const pathOf = ({ model }) => `/models/${encodeURIComponent(model)}`;

/** `download` is called with the model, the format and the button clicked, `remove` with the model. */
export function card(model, { download, remove }) {
  const line = el("div", { class: "history" });
  void drawHistory(model, line);
  return el(
    "li",
    { class: "card model" },
    title(model),
    notice(model),
    figures(model),
    line,
    about(model),
    actions(model, { download, remove }),
  );
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

function title({ name, tag, pretrained }) {
  const shownTag = tag === "latest" ? null : el("span", { class: "soft" }, `:${tag}`);
  return el(
    "div",
    { class: "title-line" },
    el("h2", {}, name, shownTag),
    pretrained ? el("span", { class: "soft" }, "ships with charloom") : null,
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
    baseline?.bpc ? figure(ngram, loss(baseline.bpc), comparison(value, baseline.val_loss)) : null,
    figure("parameters", short(parameters), size),
    model.ngram_orders ? figure("n-gram table", bytes(model.table_bytes), counted(model)) : null,
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

function actions(model, { download, remove }) {
  const { model: reference, job_id: job, pretrained } = model;
  const query = new URLSearchParams({ model: reference });
  return el(
    "div",
    { class: "actions" },
    el("a", { class: "button", href: `/#${query}` }, "Write"),
    el("a", { class: "button quiet", href: `/inside?${query}` }, "Inside"),
    job && !pretrained ? el("a", { class: "button quiet", href: `/train/${job}` }, "Job") : null,
    button("Download", model, ({ target }) => download(model, "zip", target)),
    button("As a page", model, ({ target }) => download(model, "html", target)),
    button("Delete", model, () => remove(model)),
  );
}

const button = (label, { model }, click) =>
  el(
    "button",
    { type: "button", class: "quiet", "aria-label": `${label} ${model}`, on: { click } },
    label,
  );

async function drawHistory(model, place) {
  const { points } = await get(`${pathOf(model)}/history`).catch(() => ({ points: [] }));
  const curve = lossCurve(points);
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
