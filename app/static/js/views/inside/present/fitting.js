// How large the characters of a passage can be. Knows no element.

/** Least width of a character in pixels: what is smaller scrolls. */
const LEAST = 9;
/** A passage whose own lines leave it smaller than this runs on from line to line. */
const READABLE = 14;
const FEWEST = 24;

/**
 * The number of characters in a line with which a passage fills its room best, and whether its own
 * line ends count for nothing.
 *
 * @param {(columns: number, isPacked: boolean) => {lines: object[]}} layout
 * @param {{width: number, height: number, unit: number, line: number}} room in pixels; a character
 *   is `unit` wide where a line is `line` high
 */
export function columnsFor(layout, room) {
  const own = fitting(layout, room, false);
  if (room.width / own >= READABLE) return { columns: own, isPacked: false };
  const packed = fitting(layout, room, true);
  return packed < own ? { columns: packed, isPacked: true } : { columns: own, isPacked: false };
}

function fitting(layout, { width, height, unit, line }, isPacked) {
  const most = Math.max(FEWEST, Math.floor(width / LEAST));
  for (let columns = FEWEST; columns < most; columns++) {
    const size = width / columns;
    if ((layout(columns, isPacked).lines.length * line * size) / unit <= height) return columns;
  }
  return most;
}
