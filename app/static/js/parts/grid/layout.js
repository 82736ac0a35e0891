// Where each character of a text is, in lines of equal boxes. Knows no pixel.

const TAB = 4;

export class Layout {
  /** `[{start, columns, end}]`: the index of a line's first character, the column of each, and the
   * column after the last. */
  lines = [];
  #lineOf;

  /**
   * `columns` boxes fit in a line; `isWide` tells which characters need two. A packed text has no
   * tabs and no line ends: those are characters like others. `seams` are the indices of characters
   * that begin a line in any case.
   */
  constructor(chars, columns, { isWide, isPacked, seams = new Set() }) {
    this.#lineOf = new Uint32Array(chars.length);
    let line = null;
    let column = 0;
    chars.forEach((char, index) => {
      const boxes = boxesOf(char, column, { isWide, isPacked });
      if (!line || column + boxes > columns || seams.has(index)) {
        line = { start: index, columns: [], end: 0 };
        this.lines.push(line);
        column = 0;
      }
      line.columns.push(column);
      this.#lineOf[index] = this.lines.length - 1;
      column += boxes;
      line.end = column;
      if (char === "\n" && !isPacked) line = null;
    });
  }

  get length() {
    return this.#lineOf.length;
  }

  /** The line and the column of a character, and how many boxes it takes. */
  place(index) {
    const line = this.#lineOf[index];
    const { start, columns, end } = this.lines[line];
    const i = index - start;
    return { line, column: columns[i], boxes: (columns[i + 1] ?? end) - columns[i] };
  }

  /** The index of the character in a box, or null. */
  at(line, column) {
    const { start, columns } = this.lines[line] ?? { columns: [] };
    const i = columns.findLastIndex((first) => first <= column);
    // A little past the end of a line still means its last character.
    const isPast = i === columns.length - 1 && column > columns[i] + 2;
    return i < 0 || isPast ? null : start + i;
  }

  /** The index that a key leads to from another, or from none; null if it leads nowhere. */
  step(key, from) {
    const to = this.#target(key, from);
    return to === null ? null : Math.max(0, Math.min(this.length - 1, to));
  }

  #target(key, from) {
    const last = this.length - 1;
    if (key === "Home") return 0;
    if (key === "End") return last;
    if (key === "ArrowRight") return from === null ? 0 : from + 1;
    if (key === "ArrowLeft") return from === null ? last : from - 1;
    if (from === null) return null;
    if (key === "ArrowDown") return this.#beside(from, 1);
    if (key === "ArrowUp") return this.#beside(from, -1);
    return null;
  }

  /** The character as far from the start of a line below or above. */
  #beside(index, down) {
    const line = this.#lineOf[index];
    const other = this.lines[line + down];
    const distance = index - this.lines[line].start;
    return other ? other.start + Math.min(other.columns.length - 1, distance) : null;
  }
}

function boxesOf(char, column, { isWide, isPacked }) {
  if (char === "\t" && !isPacked) return TAB - (column % TAB);
  return isWide(char) ? 2 : 1;
}
