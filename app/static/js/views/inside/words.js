// How well a cell tracks something, in words. Knows no element.

import { hundredths, number } from "../../ui.js";

const SHARES = 100;

/**
 * How a cell shows what it tracks, how well, and how often it is right.
 *
 * @param {{metric: string, score: number, sign: number, true_positive_rate?: number | null,
 *   false_positive_rate?: number | null}} tracked
 */
export function howWell({ metric, score, sign, ...rates }) {
  const isNumber = metric === "correlation";
  const said = [isNumber ? follows(sign) : shows(sign)];
  said.push(`${isNumber ? "Correlation" : "AUC"} ${hundredths(score)}.`);
  const { true_positive_rate: right, false_positive_rate: wrong } = rates;
  if (right !== null && right !== undefined)
    said.push(
      `On all unseen text it finds ${number(SHARES * right)} of ${SHARES} such characters, and takes ${number(SHARES * wrong)} of ${SHARES} others for such.`,
    );
  return said.join(" ");
}

const follows = (sign) =>
  sign < 0 ? "Inverted: it falls as the number rises." : "It rises with the number.";

const shows = (sign) =>
  sign < 0 ? "Inverted: it is quiet where this holds." : "It is excited where this holds.";
