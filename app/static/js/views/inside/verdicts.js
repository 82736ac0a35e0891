// What a cell says of each character, held against the truth. Knows no element and no server.

/** Whether a cell's value says yes, where `score` tells how it tracks something. */
export const saysYes = (value, { sign, threshold }) => sign * value > sign * threshold;

/**
 * Whether a cell is right about each character of a text: true, false, or null where it cannot be
 * told, such as for numbers.
 *
 * @param {ArrayLike<number>} values of the cell
 * @param {(number | null)[]} truth
 * @param {{sign: number, threshold: number | null}} score
 */
export function verdicts(values, truth, score) {
  if (!score || score.threshold === null || score.threshold === undefined)
    return truth.map(() => null);
  return truth.map((holds, i) =>
    holds === null ? null : saysYes(values[i], score) === Boolean(holds),
  );
}

/** `{right, of}`: how many of the characters that can be told about are right. */
export function tally(verdicts, end = verdicts.length) {
  const told = verdicts.slice(0, end).filter((verdict) => verdict !== null);
  return { right: told.filter(Boolean).length, of: told.length };
}

/** Spearman's correlation of a cell's values with numbers; null where either does not change. */
export function correlation(values, truth) {
  const places = truth.flatMap((value, i) => (value === null ? [] : [i]));
  const own = ranks(places.map((i) => values[i]));
  const other = ranks(places.map((i) => truth[i]));
  const product = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const spread = Math.sqrt(product(own, own) * product(other, other));
  return spread ? product(own, other) / spread : null;
}

/** Ranks around 0, equal values getting their mean rank. */
function ranks(values) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const found = new Array(values.length);
  for (let first = 0; first < order.length; ) {
    let end = first;
    while (end < order.length && values[order[end]] === values[order[first]]) end += 1;
    for (const i of order.slice(first, end))
      found[i] = (first + end - 1) / 2 - (values.length - 1) / 2;
    first = end;
  }
  return found;
}
