// Keeps variants in this browser, across reloads. Knows no element and no server.

import { weightOf } from "./tree.js";
import { variantFrom } from "./variant.js";

const DATABASE = "charloom-write";
const STORE = "variants";
/** Milliseconds to wait for the browser's database. */
const PATIENCE = 3000;
/** Variants, and UTF-16 units of them all, that are kept. */
export const MOST_VARIANTS = 500;
export const MOST_UNITS = 20_000_000;

export class Keeping {
  #database = null;
  #weights = new Map();
  #missed = new Set();

  /** Whether the browser keeps anything: it may be told not to. */
  get isSafe() {
    return this.#database !== null;
  }

  /** Whether something could not be kept, because that is as much as it keeps. */
  get isFull() {
    return this.#missed.size > 0;
  }

  /** Whether a variant could not be kept. */
  misses(id) {
    return this.#missed.has(id);
  }

  /** The variants that were kept, oldest first. */
  async open() {
    try {
      this.#database = await opened();
      const all = (await done(this.#store("readonly").getAll())).map(variantFrom).filter(Boolean);
      for (const variant of all) this.#weights.set(variant.id, weightOf(variant));
      return all.toSorted((a, b) => a.created.localeCompare(b.created));
    } catch (error) {
      console.info(error);
      this.#database = null;
      return [];
    }
  }

  /** Keeps a variant as it is now. */
  async keep(variant) {
    if (!this.#database) return;
    const weight = weightOf(variant);
    const others = [...this.#weights].filter(([id]) => id !== variant.id);
    const units = others.reduce((sum, [, one]) => sum + one, weight);
    this.#missed.add(variant.id);
    if (others.length >= MOST_VARIANTS || units > MOST_UNITS) return;
    this.#weights.set(variant.id, weight);
    try {
      await done(this.#store("readwrite").put(variant));
      this.#missed.delete(variant.id);
    } catch (error) {
      console.info(error);
    }
  }

  async drop(id) {
    this.#weights.delete(id);
    this.#missed.delete(id);
    try {
      if (this.#database) await done(this.#store("readwrite").delete(id));
    } catch (error) {
      console.info(error);
    }
  }

  #store(mode) {
    return this.#database.transaction(STORE, mode).objectStore(STORE);
  }
}

function opened() {
  const opening = indexedDB.open(DATABASE, 1);
  opening.addEventListener("upgradeneeded", () =>
    opening.result.createObjectStore(STORE, { keyPath: "id" }),
  );
  // A browser that does not answer keeps nothing; the page must not wait for it.
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("IndexedDB does not answer")), PATIENCE);
  });
  return Promise.race([done(opening), silence]).finally(() => clearTimeout(timer));
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}

// What is little

const KEY = "charloom-write";

/** What was remembered under a name; null if nothing was. */
export function remembered(name) {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}")[name] ?? null;
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    const all = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    localStorage.setItem(KEY, JSON.stringify({ ...all, [name]: value }));
  } catch {
    // Then it is forgotten when the page is closed.
  }
}
