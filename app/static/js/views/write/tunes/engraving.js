// The score of a tune as SVG, as wide as its place, and the mark on the note that sounds. Knows no
// sound and no text.

import { t } from "../../../language.js";
import { svg } from "../../../ui.js";

/** Pixels of a change of width from which a score is drawn anew. */
const NOTICEABLE = 8;
/** Pixels between a note and the border of its mark. */
const AROUND = 4;
/** Pixels below which a score is drawn smaller, so that more than a bar fits into a line. */
const NARROW = 520;
/** Pixels from which lines stay as they were written, and UTF-16 units that fit into one then. */
const WIDE = 680;
const LONGEST_LINE = 72;

export class Engraving {
  root = document.createElement("div");
  #abcjs;
  #music;
  #tune = null;
  #mark = null;
  #marked = null;
  #drawn = 0;
  #frame = 0;
  #sizes = new ResizeObserver(() => this.#resized());
  #sight = new IntersectionObserver((seen) => this.#seen(seen), { rootMargin: "600px" });
  #isNear = false;

  /** `music` is the ABC of one tune. */
  constructor(abcjs, music, label) {
    this.#abcjs = abcjs;
    this.#music = music;
    this.root.className = "score";
    this.root.setAttribute("role", "img");
    this.root.setAttribute("aria-label", label);
    this.#sizes.observe(this.root);
    this.#sight.observe(this.root);
  }

  remove() {
    this.#sizes.disconnect();
    this.#sight.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Marks the note at a place in the ABC; null marks none. Returns the mark. */
  show(at) {
    this.#marked = at;
    this.#mark?.remove();
    this.#mark = null;
    const group = at !== null && this.#tune?.getElementFromChar(at)?.abselem?.elemset?.[0];
    const line = group?.closest?.(".abcjs-staff-wrapper");
    if (!line) return null;
    const note = group.getBBox();
    const staff = line.getBBox();
    this.#mark = svg("rect", {
      class: "sounding",
      x: note.x - AROUND,
      y: staff.y,
      width: note.width + 2 * AROUND,
      height: staff.height,
      rx: 3,
    });
    group.ownerSVGElement.prepend(this.#mark);
    return this.#mark;
  }

  #seen(entries) {
    this.#isNear = entries.at(-1).isIntersecting;
    this.#resized();
  }

  /** Draws where there is something to see, and the width is another. */
  #resized() {
    const width = this.root.clientWidth;
    if (!this.#isNear || !width || Math.abs(width - this.#drawn) < NOTICEABLE) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw(width));
  }

  #draw(width) {
    this.#drawn = width;
    const scale = width < NARROW ? 0.8 : 1;
    const plain = {
      add_classes: true,
      scale,
      staffwidth: width,
      paddingleft: 0,
      paddingright: 0,
      paddingtop: 0,
      paddingbottom: 8,
      selectTypes: false,
    };
    const wrap = { minSpacing: 1.15, maxSpacing: 2.6, preferredMeasuresPerLine: 4 };
    const fits =
      width >= WIDE && this.#music.split("\n").every(({ length }) => length <= LONGEST_LINE);
    try {
      this.#tune = this.#drawnBy(fits ? plain : { ...plain, wrap });
    } catch {
      // Some music cannot be wrapped; its lines are then as they were written.
      this.#tune = this.#plainly(plain);
    }
    this.#mark = null;
    this.show(this.#marked);
  }

  #plainly(options) {
    try {
      return this.#drawnBy(options);
    } catch (error) {
      console.info(error);
      for (const name of ["role", "aria-label"]) this.root.removeAttribute(name);
      this.root.replaceChildren(t("This tune could not be drawn."));
      return null;
    }
  }

  /** Draws with these options; throws where abcjs cannot. */
  #drawnBy(options) {
    const place = document.createElement("div");
    this.root.replaceChildren(place);
    return this.#abcjs.renderAbc(place, this.#music, options)[0];
  }
}
