// Words about counting: the n-gram table beside a network, and the n-gram model that a network is
// compared with. Knows no element and no request.

import { counted, t } from "../language.js";
import { bytes, number, percent } from "../ui.js";

/** What the n-gram table of a model holds: "contexts of up to 8 characters"; empty without one. */
export function contexts({ ngram_orders: orders, corpus }) {
  if (!orders) return "";
  const shown = number(orders);
  return corpus?.tokens === "bytes"
    ? counted(orders, shown, "contexts of up to {n} byte", "contexts of up to {n} bytes")
    : counted(orders, shown, "contexts of up to {n} character", "contexts of up to {n} characters");
}

/** The same as a sentence, with the table's size. */
export const contextsSentence = (model) =>
  model.ngram_orders
    ? t("Beside the network it counts {contexts}, {size}.", {
        contexts: contexts(model),
        size: bytes(model.table_bytes),
      })
    : "";

/** By which share the lower of two losses is better than the other. */
const shareOf = (network, ngram) =>
  percent(1 - Math.min(network, ngram) / Math.max(network, ngram));

/**
 * Which of two losses is better, the network's or the n-gram model's, and by which share of the
 * other it is lower: "the network is 20% better"; empty if one is unknown.
 */
export function comparison(network, ngram) {
  if (!network || !ngram) return "";
  if (network === ngram) return t("the network is as good");
  const share = shareOf(network, ngram);
  return network < ngram
    ? t("the network is {share} better", { share })
    : t("the n-gram model is {share} better", { share });
}

/**
 * The same with the n-gram model's name, and whether the network won: "beats the 5-gram by 20%";
 * null if one is unknown.
 */
export function verdict(network, ngram, order) {
  if (!network || !ngram) return null;
  const values = { n: order ?? "n", share: shareOf(network, ngram) };
  if (network < ngram)
    return { isBetter: true, words: t("Beats the {n}-gram by {share}.", values) };
  if (network > ngram)
    return { isBetter: false, words: t("Not yet: the {n}-gram is {share} better.", values) };
  return { isBetter: false, words: t("Not yet: it is as good as the {n}-gram.", values) };
}
