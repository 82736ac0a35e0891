// The corpus doctor's report on a text. Knows no request.

import { bytes, count, duration, el, number, percent, sentence } from "../../ui.js";

const ENCODINGS = { ascii: "Plain ASCII", "utf-8": "UTF-8", bytes: "Read as bytes" };
const LINE_ENDS = {
  crlf: "Windows line endings",
  cr: "classic Mac OS line endings",
  mixed: "mixed line endings",
  none: "no line endings",
};
/** Smaller shares of repeated lines are not mentioned. */
const REPEATED = 0.005;
const MOST_RARE = 24;

/** A sentence about a text; empty if nothing about it is unusual. */
export function factsOf(report) {
  const isWarned = report.warnings.some((text) => /\blines\b/.test(text));
  const facts = [
    ENCODINGS[report.encoding],
    // If they were converted, that is among the normalisations.
    !report.normalised.length && LINE_ENDS[report.line_ends],
    ...report.normalised,
    report.duplicate_line_share > REPEATED &&
      !isWarned &&
      `${percent(report.duplicate_line_share)} of lines are repeats`,
    report.estimated_seconds && `takes about ${duration(report.estimated_seconds)} here`,
  ].filter(Boolean);
  return facts.length ? `${facts.join("; ")}.` : "";
}

/** The sizes of a text as pairs of number and unit; null if it could not be read. */
export function sizesOf({ characters, distinct, lines, encoding }) {
  if (characters === null) return null;
  return [
    [number(characters), encoding === "bytes" ? "bytes" : "characters"],
    [number(distinct), "distinct"],
    [number(lines), "lines"],
  ];
}

/**
 * The report as elements.
 *
 * @param {{title: string, aside: Element, usePreset: (preset: string) => void}} options
 *   `aside` is shown beside the title
 */
export function reportOf(report, { title, aside, usePreset }) {
  const name = el("p", {}, el("strong", {}, title), ` ${bytes(report.bytes)}`);
  const facts = factsOf(report);
  return [
    el("div", { class: "report-name" }, name, aside),
    sizes(report),
    facts && el("p", { class: "soft" }, facts),
    rare(report.rare ?? []),
    preset(report.preset, usePreset),
    ...report.warnings.map((warning) => el("p", { class: "warning" }, sentence(warning))),
  ].filter(Boolean);
}

function sizes(report) {
  const figures = sizesOf(report)?.map(([value, label]) =>
    el("div", {}, el("dd", {}, value), el("dt", {}, label)),
  );
  return figures && el("dl", { class: "figures" }, ...figures);
}

function rare(found) {
  if (!found.length) return null;
  const characters = found
    .slice(0, MOST_RARE)
    .flatMap(({ char, count: times }) => [
      el("code", { class: "rare", title: count(times, "time") }, char),
      " ",
    ]);
  return el("p", { class: "soft" }, "Rare: ", ...characters);
}

function preset(name, use) {
  if (!name || name === "auto") return null;
  const click = (event) => {
    use(name);
    event.target.textContent = "Used";
  };
  return el(
    "p",
    {},
    `This text looks right for the preset ${name}. `,
    el("button", { type: "button", class: "quiet", on: { click } }, "Use it"),
  );
}
