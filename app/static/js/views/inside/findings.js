// The result of a search through a model's cells (GET /models/{model}/cells): hypotheses, each
// something that a cell may track, with the cells that do, best first; and passages of unseen text.
// Knows no element.

import { LANGUAGE, inLanguage, t } from "../../language.js";

/** Cells offered for each hypothesis. */
const OFFERED = 3;
/** Passages that are read together. */
const TOGETHER = 4;
/** How much better an inverted cell must be to be shown first: it needs an explanation. */
const INVERTED = 0.1;

const and = new Intl.ListFormat(LANGUAGE);

export const isSameCell = (one, other) => one.layer === other.layer && one.cell === other.cell;

export class Findings {
  /** Without an argument: nothing found, or not yet. */
  constructor({ hypotheses, share = null, passages } = {}) {
    this.share = share;
    this.passages = passages ?? [];
    this.hypotheses = (hypotheses ?? [])
      .filter(({ cells }) => cells.length)
      .map((one) => ({
        ...one,
        title: inLanguage(one.title),
        cells: one.cells.map((cell) => withStrength(one, cell)),
      }));
  }

  /** The cells that a person is offered for a hypothesis. */
  offered({ cells }) {
    return cells.slice(0, OFFERED);
  }

  /** The numbers of all cells of a layer that are offered. */
  offeredIn(layer) {
    return this.hypotheses
      .flatMap((one) => this.offered(one))
      .filter((one) => one.layer === layer)
      .map(({ cell }) => cell);
  }

  /** The cell that tracks anything best, if any does; one that isn't inverted if it is as good. */
  best() {
    const merit = ({ strength, sign }) => strength - (sign < 0 ? INVERTED : 0);
    const [best] = this.hypotheses
      .flatMap(({ cells }) => cells)
      .sort((one, other) => merit(other) - merit(one));
    return best && { layer: best.layer, cell: best.cell };
  }

  /** What a cell tracks, as `{hypothesis, score}`, the best first. */
  trackedBy(cell) {
    return this.hypotheses
      .flatMap((hypothesis) =>
        hypothesis.cells
          .filter((one) => isSameCell(one, cell))
          .map((score) => ({ hypothesis, score })),
      )
      .sort((one, other) => other.score.strength - one.score.strength);
  }

  /** What a cell tracks, in words; null if nothing is known of it. */
  tracked(cell) {
    const titles = this.trackedBy(cell).map(({ hypothesis: { title }, score }) =>
      score.sign < 0 ? t("“{title}” (inverted)", { title }) : t("“{title}”", { title }),
    );
    return titles.length ? and.format(titles) : null;
  }

  /** All passages, those that show what a cell tracks first. */
  passagesFor(cell, hypothesis = this.trackedBy(cell)[0]?.hypothesis) {
    const first = (hypothesis?.examples ?? []).map((number) => this.passages[number]);
    return [...new Set([...first, ...this.passages])].filter(Boolean);
  }

  /**
   * Some passages of unseen text, one after the other: those that show what a cell tracks, and
   * others at each further turn. `seams` are the characters at which the next one begins.
   */
  unseen(cell, turn = 0, hypothesis = undefined) {
    const passages = this.passagesFor(cell, hypothesis);
    if (!passages.length) return { text: "", seams: [] };
    const turns = Math.ceil(passages.length / TOGETHER);
    const first = (turn % turns) * TOGETHER;
    return joined(passages.slice(first, first + TOGETHER).map(({ text }) => text));
  }
}

/** Texts one after the other, each ended by a line end, and where the others begin. */
export function joined(texts) {
  const ended = texts.map((text) => (text.endsWith("\n") ? text : `${text}\n`));
  const seams = [];
  let end = 0;
  for (const text of ended) {
    if (end) seams.push(end);
    end += [...text].length;
  }
  return { text: ended.join(""), seams };
}

/** A cell with its score from 0 to 1; one that always shows the opposite is as good. */
const withStrength = ({ metric }, cell) => ({
  ...cell,
  strength: metric === "auc" ? 2 * Math.abs(cell.score - 0.5) : Math.abs(cell.score),
});
