// The n-gram table beside a network: models/ngram_table.py, which says how it works. A file has the
// lower half of each key, so one look-up in a hundred million finds what is not there. Knows no
// network.

import { splitMix } from "./draws.js";
import { sum } from "./packed.js";

const LIMB = 0x10000;
const WORD = 2 ** 32;

export class Table {
  #parts;
  #size;
  #most;
  /** The number of each id times the factor of its age, in two halves; the last is of no id. */
  #terms = { high: [], low: [] };

  /**
   * @param {number} size of the vocabulary
   * @param {object} parts `lengths` of contexts, `sizes` of their buckets, how many of them have
   *   rows (`rowed`), `multipliers` for the places of a key, `base` of its hash, both in
   *   hexadecimal; `keys`, `rows`, `followers` in each list, and so on
   */
  constructor(size, parts) {
    this.#size = size;
    this.#most = Math.max(...parts.lengths);
    const halves = (digits) => [BigInt(`0x${digits}`) >> 32n, BigInt(`0x${digits}`)];
    const multipliers = parts.multipliers.map((digits) =>
      halves(digits).map((half) => Number(BigInt.asUintN(32, half))),
    );
    this.#parts = { ...parts, multipliers };
    let factor = 1n;
    for (let age = 0; age < this.#most; age++) {
      for (let id = 0; id <= size; id++) {
        const term = splitMix(0n, id) * factor;
        this.#terms.high.push(Number(BigInt.asUintN(32, term >> 32n)));
        this.#terms.low.push(Number(BigInt.asUintN(32, term)));
      }
      factor = BigInt.asUintN(64, factor * BigInt(`0x${parts.base}`));
    }
  }

  /** What may follow the ids read so far, in nats, not normalised. */
  logs(ids) {
    const { rows, step, followers, boosts, perList } = this.#parts;
    const size = this.#size;
    const [row, list] = this.find(ids);
    const logs = new Float64Array(size);
    for (let id = 0; id < size; id++) logs[id] = -step * rows[row * size + id];
    for (let at = list * perList; list && at < (list + 1) * perList; at++)
      logs[followers[at]] += step * boosts[at];
    return logs;
  }

  /** The row and the list of the longest known contexts; 0 is that of none. */
  find(ids) {
    const { lengths, sizes, rowed, keys, multipliers } = this.#parts;
    const { high: highs, low: lows } = this.#terms;
    const found = [0, 0];
    const ofRows = sum(sizes.slice(0, rowed));
    let [high, low, age, begin] = [0, 0, 0, 1];
    lengths.forEach((length, index) => {
      for (; age < length; age++) {
        const term = age * (this.#size + 1) + (ids[ids.length - 1 - age] ?? this.#size);
        low += lows[term];
        high = (high + highs[term] + (low >= WORD ? 1 : 0)) | 0;
        low %= WORD;
      }
      for (const multiplier of multipliers) {
        const place = begin + productModulo(high, low, multiplier, sizes[index]);
        if (keys[place] !== low) continue;
        const which = index < rowed ? 0 : 1;
        found[which] = Math.max(found[which], which ? place - ofRows : place);
      }
      begin += sizes[index];
    });
    return found;
  }
}

/** The remainder of a product of two numbers of 64 bits, which wraps around and has a sign. */
export function productModulo(high, low, [otherHigh, otherLow], size) {
  const [a, b] = [low % LIMB, Math.floor(low / LIMB)];
  const [c, d] = [otherLow % LIMB, Math.floor(otherLow / LIMB)];
  const first = a * c;
  const middle = a * d + b * c + Math.floor(first / LIMB);
  const lower = (middle % LIMB) * LIMB + (first % LIMB);
  const carried = b * d + Math.floor(middle / LIMB);
  const upper = (carried + Math.imul(high, otherLow) + Math.imul(low, otherHigh)) | 0;
  const remainder = ((upper % size) * (WORD % size) + (lower % size)) % size;
  return (remainder + size) % size;
}
