// Search in sorted lists. Knows no element.

/**
 * The index of the last item whose position is at or before a value; -1 if there is none.
 *
 * @param {T[]} items sorted by their positions
 * @param {(item: T) => number} positionOf
 */
export function lastAtOrBefore(items, value, positionOf) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (positionOf(items[middle]) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
