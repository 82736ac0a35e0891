// The passages that are played before a class. Knows no element.

import { Reading } from "./reading.js";

/** Most characters of a piece: as many as the server's passages have. */
const LONGEST = 320;

/** Passages of unseen text, each read on its own, as a network reads that has just been started. */
export const passageSlides = (model, passages, { cell, hypothesis, style }) =>
  passages.map(({ text }) => ({
    load: async (signal) => {
      const reading = await Reading.open(model, text, { cell, hypothesis, style, top: 0, signal });
      return slice(reading, cell, hypothesis, [0, reading.chars.length]);
    },
  }));

/** The text of a reading in pieces, with what the network knew from those before. */
export const pieceSlides = (reading, { cell, hypothesis }) =>
  pieces(reading.chars, reading.seams).map((bounds) => ({
    load: async () => {
      if (reading.lacks(cell, hypothesis)) await reading.load(cell, hypothesis);
      return slice(reading, cell, hypothesis, bounds);
    },
  }));

function slice(reading, cell, hypothesis, [begin, end]) {
  return {
    chars: reading.chars.slice(begin, end),
    values: reading.activations(cell).slice(begin, end),
    truth: reading.truth(hypothesis)?.slice(begin, end) ?? null,
  };
}

/** Where to cut a text, as `[begin, end]`: at seams, and at line ends if there are any. */
export function pieces(chars, seams = new Set()) {
  const found = [];
  let begin = 0;
  while (begin < chars.length) {
    const end = endOf(chars, begin, seams);
    found.push([begin, end]);
    begin = end;
  }
  return found;
}

function endOf(chars, begin, seams) {
  const most = Math.min(chars.length, begin + LONGEST);
  for (let end = begin + 1; end < most; end++) if (seams.has(end)) return end;
  if (most === chars.length) return most;
  const lineEnd = chars.slice(begin, most).lastIndexOf("\n");
  return lineEnd > 0 ? begin + lineEnd + 1 : most;
}
