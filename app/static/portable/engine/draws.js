// Random numbers and hashes in 64 bits, as the server has them: BigInt is slow, but none of this is
// done more than once a character. Knows no network.

const MASK = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n;

/** The mixing function of SplitMix64 (Steele, Lea & Flood 2014). */
export function mixed(number) {
  let z = number;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

/** Number n of SplitMix64 from a start, the first of which is 0. */
export const splitMix = (start, n) => mixed((start + BigInt(n + 1) * GOLDEN) & MASK);

/** A text's random numbers by position, each from 0 to below 1. */
export function draws(seed) {
  const start = splitMix(BigInt(seed) * GOLDEN, 0);
  return (position) => Number(splitMix(start, position) >> 40n) / 2 ** 24;
}

/** The seed of text number `index` of several. */
export function derivedSeed(seed, index) {
  return index ? blake2b(new TextEncoder().encode(`${seed} ${index}`)) >> 1n : BigInt(seed);
}

const IV = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
];
/** The order of a message's words in each round, in hexadecimal. */
const ORDERS = [
  "0123456789abcdef",
  "ea489fd61c02b753",
  "b8c052fdae367194",
  "7931dcbe265a40f8",
  "905724afe1bc683d",
  "2c6a0b834d75fe19",
  "c51fed4a0763928b",
  "db7ec13950f4862a",
  "6fe9b308c2d714a5",
  "a2847615fb9e3cd0",
  "0123456789abcdef",
  "ea489fd61c02b753",
];
/** The words that each of eight steps of a round mixes: columns, then diagonals. */
const STEPS = ["048c", "159d", "26ae", "37bf", "05af", "16bc", "278d", "349e"];
const BLOCK = 128;

const indices = (digits) => [...digits].map((digit) => Number.parseInt(digit, 16));

/** BLAKE2b with a digest of 8 bytes (RFC 7693), read with the lowest byte first. */
export function blake2b(bytes) {
  const state = [...IV];
  // A digest of 8 bytes, no key.
  state[0] ^= 0x01010008n;
  const blocks = Math.max(1, Math.ceil(bytes.length / BLOCK));
  for (let block = 0; block < blocks; block++) {
    const words = new BigUint64Array(BLOCK / 8);
    new Uint8Array(words.buffer).set(bytes.subarray(block * BLOCK, (block + 1) * BLOCK));
    const read = BigInt(Math.min(bytes.length, (block + 1) * BLOCK));
    compress(state, words, read, block === blocks - 1);
  }
  return state[0];
}

function compress(state, words, read, isLast) {
  const v = [...state, ...IV];
  v[12] ^= read;
  if (isLast) v[14] ^= MASK;
  const turn = (n, by) => (n >> by) | ((n << (64n - by)) & MASK);
  for (const order of ORDERS.map(indices)) {
    STEPS.map(indices).forEach(([a, b, c, d], step) => {
      v[a] = (v[a] + v[b] + words[order[2 * step]]) & MASK;
      v[d] = turn(v[d] ^ v[a], 32n);
      v[c] = (v[c] + v[d]) & MASK;
      v[b] = turn(v[b] ^ v[c], 24n);
      v[a] = (v[a] + v[b] + words[order[2 * step + 1]]) & MASK;
      v[d] = turn(v[d] ^ v[a], 16n);
      v[c] = (v[c] + v[d]) & MASK;
      v[b] = turn(v[b] ^ v[c], 63n);
    });
  }
  for (let i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
}
