// Which models, samples and cells About shows, and what it says of them. Knows no element and no
// request.

import { verdict } from "../../parts/ngram.js";

/** Samples of the training that are shown, from the first to the last. */
const SHOWN_SAMPLES = 3;
const SHOWN_CELLS = 3;
/** What anybody understands at once comes first. */
const PLAIN = ["comment", "quotes", "if-condition", "parentheses", "braces", "speaker", "column"];
/** Above this many characters per line a corpus counts as prose, not as a list. */
const PROSE_LINE = 20;

const isProse = ({ corpus }) => !corpus?.lines || corpus.characters / corpus.lines > PROSE_LINE;

/**
 * The models to speak of: those that ship, or where none does, all. `writer` writes and learned, in
 * `looker` cells are looked at; null where there is no model.
 */
export function subjectsOf(models) {
  const latest = models.filter(({ tag }) => tag === "latest");
  const shipped = latest.filter(({ pretrained }) => pretrained);
  const shown = shipped.length ? shipped : latest;
  const prose = shown.filter(isProse);
  const named = (name) => prose.find((model) => model.name === name);
  const writer = named("shakespeare") ?? prose[0] ?? shown[0] ?? null;
  return { writer, looker: named("linux") ?? writer, shown };
}

/** Samples that show how a network learned: evenly chosen, the first and the last among them. */
export function evolution(samples) {
  if (samples.length <= SHOWN_SAMPLES) return samples;
  const stride = (samples.length - 1) / (SHOWN_SAMPLES - 1);
  return Array.from({ length: SHOWN_SAMPLES }, (_, i) => samples[Math.round(i * stride)]);
}

/** The cells to show: of what is easy to understand, the best first. */
export function finest(hypotheses) {
  const place = ({ name }) => (PLAIN.includes(name) ? PLAIN.indexOf(name) : PLAIN.length);
  return hypotheses
    .filter(({ cells, excerpt, metric }) => cells.length && excerpt && metric === "auc")
    .toSorted((a, b) => place(a) - place(b) || b.cells[0].score - a.cells[0].score)
    .slice(0, SHOWN_CELLS);
}

/** A model's figures: its bits and those of the n-gram model, and who won. */
export function comparisonOf({ model, parameters, bpc, val_loss: loss, baseline, corpus }) {
  return {
    model,
    parameters,
    bpc,
    ngram: baseline?.bpc ?? null,
    read: corpus?.characters ?? null,
    words: verdict(loss, baseline?.val_loss, baseline?.ngram_order)?.words ?? "",
  };
}

/**
 * A text in runs of characters for which a cell is about equally excited: `{text, level}`, the level
 * from −2 (quiet) to 2 (excited). `sign` turns a cell around that is low where its thing is.
 */
export function runsOf(text, activations, sign) {
  const runs = [];
  for (const [i, char] of [...text].entries()) {
    const level = Math.round(2 * Math.max(-1, Math.min(1, sign * (activations[i] ?? 0))));
    // Adding 0 turns −0, which would name another class, into 0.
    if (runs.at(-1)?.level === level + 0) runs.at(-1).text += char;
    else runs.push({ text: char, level: level + 0 });
  }
  return runs;
}
