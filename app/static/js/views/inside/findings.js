// The result of a search through a model's cells (GET /models/{model}/cells): hypotheses, each
// something that a cell may track, with the cells that do, best first. Knows no element.

/** Cells offered for each hypothesis. */
const OFFERED = 3;

const and = new Intl.ListFormat("en");

export const isSameCell = (one, other) => one.layer === other.layer && one.cell === other.cell;

export class Findings {
  /** Without an argument: nothing found, or not yet. */
  constructor({ hypotheses, share = null } = {}) {
    this.share = share;
    this.hypotheses = (hypotheses ?? [])
      .filter(({ cells }) => cells.length)
      .map((one) => ({ ...one, cells: one.cells.map((cell) => withStrength(one, cell)) }));
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

  /** The cell that tracks anything best, if any does. */
  best() {
    const [best] = this.hypotheses
      .flatMap(({ cells }) => cells)
      .sort((one, other) => other.strength - one.strength);
    return best && { layer: best.layer, cell: best.cell };
  }

  /** What a cell tracks, in words; null if nothing is known of it. */
  tracked(cell) {
    const titles = this.hypotheses.flatMap(({ title, cells }) =>
      cells
        .filter((one) => isSameCell(one, cell))
        .map(({ sign }) => `“${title}”${sign < 0 ? " (inverted)" : ""}`),
    );
    return titles.length ? and.format(titles) : null;
  }

  /**
   * The places of unseen text where the hypotheses show, one after the other.
   *
   * `stretches` hold the activations of each hypothesis' best cell at its place, `values` from the
   * character `start` on, as they were in the midst of the whole text: a network that reads the
   * place from nothing can't know that a quote was opened before it.
   */
  unseen() {
    const shown = this.hypotheses.filter(({ excerpt }) => excerpt);
    const starts = new Map();
    let end = 0;
    for (const { excerpt } of shown) {
      if (starts.has(excerpt)) continue;
      starts.set(excerpt, end);
      end += [...excerpt].length + 1;
    }
    const stretches = shown.map(({ cells: [best], excerpt, activations }) => ({
      layer: best.layer,
      cell: best.cell,
      start: starts.get(excerpt),
      values: activations,
    }));
    return { text: [...starts.keys()].join("\n"), stretches };
  }
}

/** A cell with its score from 0 to 1; one that always shows the opposite is as good. */
const withStrength = ({ metric }, cell) => ({
  ...cell,
  strength: metric === "auc" ? 2 * Math.abs(cell.score - 0.5) : Math.abs(cell.score),
});
