// The corpus doctor's report on a text, in words. Knows no request.

import { bytes, count, duration, el, number, percent, sentence } from "../../ui.js";

const ENCODINGS = { ascii: "Plain ASCII", "utf-8": "UTF-8", bytes: "Read as bytes" };
const LINE_ENDS = {
  crlf: "Windows line ends",
  cr: "old Macintosh line ends",
  mixed: "mixed line ends",
  none: "no line ends",
};
/** Share of repeated lines that is worth a word. */
const REPEATED = 0.005;
const MOST_RARE = 24;

/** What is to be known about a text, in a sentence; empty if there is nothing. */
export function factsOf(report) {
  const isWarned = report.warnings.some((text) => /\blines\b/.test(text));
  const facts = [
    ENCODINGS[report.encoding],
    // What was made of line ends stands among what was normalised.
    !report.normalised.length && LINE_ENDS[report.line_ends],
    ...report.normalised,
    report.duplicate_line_share > REPEATED &&
      !isWarned &&
      `${percent(report.duplicate_line_share)} of the lines come more than once`,
    report.estimated_seconds && `takes about ${duration(report.estimated_seconds)} here`,
  ].filter(Boolean);
  return facts.length ? `${facts.join("; ")}.` : "";
}

/** How long a text is, as numbers and what they count; null of one that could not be read. */
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
 *   `aside` stands beside the title
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
    `It looks like a text for the preset ${name}. `,
    el("button", { type: "button", class: "quiet", on: { click } }, "Use it"),
  );
}
