// Begins a presentation: which passages are played, and what is said of the cell above them.

import { t, together } from "../../language.js";
import { Present } from "./present.js";
import { passageSlides, pieceSlides } from "./slides.js";
import { howWell, nameOf } from "./words.js";

/**
 * Fills the screen with a cell.
 *
 * @param {object} shown `{model, cell, findings, style, slide}`; `best`, what the cell tracks as
 *   `{hypothesis, score}`, or null; `turn`, which passages of unseen text are shown, or null for
 *   the text of `reading`
 * @param {(slide: number | null) => void} shown.moved is called with the number of each slide that
 *   is shown, from 1, and with null at the end
 */
export function present({ model, cell, findings, best, style, turn, reading, slide, moved }) {
  const hypothesis = best?.hypothesis.name;
  const wish = { cell, hypothesis, style };
  const slides =
    turn === null
      ? pieceSlides(reading, wish)
      : passageSlides(model, findings.passagesFor(cell, best?.hypothesis), wish);
  const name = nameOf(cell, model);
  const about = best
    ? {
        title: best.hypothesis.title,
        lead: together(
          t("{cell}.", { cell: name }),
          howWell({ ...best.score, metric: best.hypothesis.metric }),
        ),
        tracked: { ...best.score, metric: best.hypothesis.metric },
      }
    : { title: name, lead: t("It tracks nothing that has a name here."), tracked: null };
  return new Present(about, slides, (at) => moved(at === null ? null : at + 1)).open(slide);
}
