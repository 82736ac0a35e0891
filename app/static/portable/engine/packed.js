// The weights of a portable file, as models/portable.py packs them: whole numbers of steps in
// planes of bytes, deflated, in base 85. Knows no network.

/** A row's step is two to the power of a number over this; ZERO stands for a step of 1. */
const PER_OCTAVE = 4;
const ZERO = 1 << 15;

/** The bytes of a text in base 85: five characters, from "(" on but without "<", for four bytes. */
export function fromBase85(text) {
  const words = new Uint32Array(text.length / 5);
  for (let i = 0, at = 0; i < words.length; i++) {
    let word = 0;
    for (const end = at + 5; at < end; at++) {
      const code = text.charCodeAt(at);
      word = word * 85 + code - (code > 60 ? 41 : 40);
    }
    words[i] = word;
  }
  return new Uint8Array(words.buffer);
}

/** The arrays of a file: the weights by name, the parts of the n-gram table, hashes of a list. */
export async function unpacked(model, text) {
  const packed = fromBase85(text.trim()).subarray(0, model.size);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Bytes(await new Response(stream).arrayBuffer());
  const { config, table, lines } = model;
  const buckets = sum(config.ngram_buckets ?? []);
  const lists = sum(config.ngram_long_buckets ?? []);
  return {
    weights: weightsOf(model.tensors, bytes),
    table: table && {
      ...table,
      keys: bytes.numbers(1 + buckets + lists, 4),
      rows: bytes.take((1 + buckets) * config.vocabulary_size),
      followers: bytes.numbers(lists ? (1 + lists) * table.perList : 0, 2),
      boosts: bytes.take(lists ? (1 + lists) * table.perList : 0),
    },
    hashes: cumulated(bytes.numbers(lines, 4)),
  };
}

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function weightsOf(tensors, bytes) {
  const steps = bytes.numbers(sum(tensors.map(([, rows]) => rows)), 2);
  const numbers = bytes.numbers(sum(tensors.map(([, rows, columns]) => rows * columns)), 3);
  const weights = {};
  let [row, at] = [0, 0];
  for (const [name, rows, columns] of tensors) {
    const values = new Float32Array(rows * columns);
    const begin = at;
    for (const end = row + rows; row < end; row++) {
      const step = 2 ** ((steps[row] - ZERO) / PER_OCTAVE);
      for (const last = at + columns; at < last; at++)
        // 0, -1, 1, -2, 2, … stand as 0, 1, 2, 3, 4, …
        values[at - begin] = ((numbers[at] >>> 1) ^ -(numbers[at] & 1)) * step;
    }
    weights[name] = values;
  }
  return weights;
}

/** Increasing numbers from the distances between them. */
function cumulated(numbers) {
  for (let i = 1; i < numbers.length; i++) numbers[i] += numbers[i - 1];
  return numbers;
}

class Bytes {
  #bytes;
  #at = 0;

  constructor(buffer) {
    this.#bytes = new Uint8Array(buffer);
  }

  take(count) {
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  /** Numbers whose lowest bytes come first, then all the next ones, and so on. */
  numbers(count, planes) {
    const numbers = new Uint32Array(count);
    for (let plane = 0; plane < planes; plane++) {
      const bytes = this.take(count);
      for (let i = 0; i < count; i++) numbers[i] |= bytes[i] << (8 * plane);
    }
    return numbers;
  }
}
