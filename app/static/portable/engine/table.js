// The n-gram table beside a network: models/ngram_table.py, which says how it works. Knows no
// network.

import { splitMix } from "./draws.js";
import { sum } from "./packed.js";

export class Table {
  #parts;
  #size;
  #most;
  /** The number of each id times the factor of its age; the last is of no id. */
  #terms = [];

  /**
   * @param {number} size of the vocabulary
   * @param {object} parts `lengths` of contexts, `sizes` of their buckets, how many of them have
   *   rows (`rowed`), `multipliers` for the places of a key, of which each begins a
   *   `window`, `base` of its hash, both in hexadecimal; `keys`, `rows`, `followers` in each list, and so on
   */
  constructor(size, parts) {
    this.#size = size;
    this.#most = Math.max(...parts.lengths);
    const multipliers = parts.multipliers.map((digits) => Number.parseInt(digits, 16));
    this.#parts = { ...parts, multipliers };
    const numbers = Array.from({ length: size + 1 }, (_, id) =>
      Number(BigInt.asIntN(32, splitMix(0n, id))),
    );
    let factor = 1;
    for (let age = 0; age < this.#most; age++) {
      for (const number of numbers) this.#terms.push(Math.imul(number, factor));
      factor = Math.imul(factor, Number.parseInt(parts.base, 16));
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
    const { lengths, sizes, rowed, keys, multipliers, window } = this.#parts;
    const found = [0, 0];
    const ofRows = sum(sizes.slice(0, rowed));
    let [key, age, begin] = [0, 0, 1];
    lengths.forEach((length, index) => {
      for (; age < length; age++) {
        const term = age * (this.#size + 1) + (ids[ids.length - 1 - age] ?? this.#size);
        key = (key + this.#terms[term]) | 0;
      }
      for (const multiplier of multipliers) {
        const modulus = Math.max(1, sizes[index] - window + 1);
        const remainder = Math.imul(key, multiplier) % modulus;
        const first = begin + (remainder < 0 ? remainder + modulus : remainder);
        for (let place = first; place < first + Math.min(window, sizes[index]); place++) {
          if (keys[place] !== key >>> 0) continue;
          const which = index < rowed ? 0 : 1;
          found[which] = Math.max(found[which], which ? place - ofRows : place);
        }
      }
      begin += sizes[index];
    });
    return found;
  }
}
