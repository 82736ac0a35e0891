// Words about counting: the n-gram table beside a network, and the n-gram model that a network is
// compared with. Knows no element and no request.

import { bytes, percent } from "../ui.js";

/** What the n-gram table of a model holds: "contexts of up to 8 characters"; empty without one. */
export function counted({ ngram_orders: orders, corpus }) {
  if (!orders) return "";
  const symbol = corpus?.tokens === "bytes" ? "byte" : "character";
  return `contexts of up to ${orders} ${symbol}${orders === 1 ? "" : "s"}`;
}

/** The same as a sentence, with the table's size. */
export const countedSentence = (model) =>
  model.ngram_orders
    ? `Beside the network it counts ${counted(model)}, ${bytes(model.table_bytes)}.`
    : "";

/**
 * Which of two losses is better, the network's or the n-gram model's, and by which share of the
 * other it is lower: "the network is 20% better"; empty if one is unknown.
 */
export function comparison(network, ngram) {
  if (!network || !ngram) return "";
  if (network === ngram) return "the network is as good";
  const lower = percent(1 - Math.min(network, ngram) / Math.max(network, ngram));
  return `the ${network < ngram ? "network" : "n-gram model"} is ${lower} better`;
}

/**
 * The same with the n-gram model's name, and whether the network won: "beats the 5-gram by 20%";
 * null if one is unknown.
 */
export function verdict(network, ngram, order) {
  if (!network || !ngram) return null;
  const name = `the ${order ?? "n"}-gram`;
  const share = percent(1 - Math.min(network, ngram) / Math.max(network, ngram));
  if (network < ngram) return { isBetter: true, words: `Beats ${name} by ${share}.` };
  if (network > ngram) return { isBetter: false, words: `Not yet: ${name} is ${share} better.` };
  return { isBetter: false, words: `Not yet: it is as good as ${name}.` };
}
