// A cell's name, and how well it tracks something, in words. Knows no element.

import { t, together } from "../../language.js";
import { hundredths, number } from "../../ui.js";

const SHARES = 100;

export const nameOf = ({ layer, cell }, { model }) =>
  t("Layer {layer}, cell {cell} of {model}", { layer, cell, model });

/**
 * How a cell shows what it tracks, how well, and how often it is right.
 *
 * @param {{metric: string, score: number, sign: number, true_positive_rate?: number | null,
 *   false_positive_rate?: number | null}} tracked
 */
export function howWell({ metric, score, sign, ...rates }) {
  const isNumber = metric === "correlation";
  const values = { score: hundredths(score) };
  const measure = isNumber ? t("Correlation {score}.", values) : t("AUC {score}.", values);
  return together(isNumber ? follows(sign) : shows(sign), measure, ofHundred(rates));
}

function ofHundred({ true_positive_rate: right, false_positive_rate: wrong }) {
  if (right === null || right === undefined) return "";
  return t(
    "On all unseen text it finds {right} of {all} such characters, and takes {wrong} of {all} others for such.",
    { right: number(SHARES * right), wrong: number(SHARES * wrong), all: SHARES },
  );
}

const follows = (sign) =>
  sign < 0 ? t("Inverted: it falls as the number rises.") : t("It rises with the number.");

const shows = (sign) =>
  sign < 0 ? t("Inverted: it is quiet where this holds.") : t("It is excited where this holds.");
