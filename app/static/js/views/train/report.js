// The corpus doctor's report on a text. Knows no request.

import { bytes, count, el, number, percent, sentence } from "../../ui.js";

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
const AS_BYTES = "“Read as: bytes” under Options";
const OR_BYTES = /,? or pass tokens=bytes[^.;]*/;
const MOST_STYLES = 8;

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

/** A sentence about what a text was made of; empty if it is as it was sent. */
export function madeOf({ sources, hidden = 0 }) {
  if (!sources) return "";
  const [first] = sources.files;
  if (sources.taken + sources.left_out === 1) {
    if (first.source === "UTF-8") return "";
    return /^an? /.test(first.source)
      ? `The text of ${first.source}.`
      : `Converted from ${first.source}.`;
  }
  const parts = [`Made of ${count(sources.taken, "file")}`];
  if (sources.left_out) parts.push(`${number(sources.left_out)} left out`);
  if (hidden) parts.push(`${count(hidden, "hidden file")} not sent`);
  return `${parts.join("; ")}.`;
}

/**
 * The report as elements.
 *
 * @param {object} options
 * @param {(preset: string) => void} options.usePreset
 * @param {(styles: string) => void} options.useStyles gets the option, empty where it is not wanted
 */
export function reportOf(report, { usePreset, useStyles }) {
  const facts = factsOf(report);
  return [
    sizes(report),
    sources(report),
    report.converted && el("p", {}, `Converted from ${report.converted}.`),
    styles(report.sources?.styles, useStyles),
    facts && el("p", { class: "soft" }, facts),
    rare(report.rare ?? []),
    preset(report.preset, usePreset),
    ...warnings(report),
  ].filter(Boolean);
}

function warnings({ characters, warnings }) {
  const isRefused = characters === null;
  // What cannot be read as text is not to be trained on here, not even its bytes.
  const words = (warning) => (isRefused ? warning.replace(OR_BYTES, "") : warning);
  const kind = isRefused ? "warning refusal" : "warning";
  return warnings.map((warning) => el("p", { class: kind }, inOptions(words(warning))));
}

/** A warning as a sentence that names the page's option where it names the API's. */
export const inOptions = (warning) =>
  sentence(warning).replace(/pass tokens=bytes/i, (found) =>
    found.startsWith("P") ? `Choose ${AS_BYTES}` : `choose ${AS_BYTES}`,
  );

function sizes(report) {
  const figures = sizesOf(report)?.map(([value, label]) =>
    el("div", {}, el("dd", {}, value), el("dt", {}, label)),
  );
  return figures && el("dl", { class: "figures" }, ...figures);
}

function sources(report) {
  const words = madeOf(report);
  const { files, omitted, taken, left_out } = report.sources ?? {};
  if (!words || taken + left_out === 1) return words && el("p", {}, words);
  const rows = [
    ...omitted.map(({ name, reason }) => [name, `left out: ${reason}`]),
    ...files.map((file) => [file.name, `${bytes(file.bytes)}${sourceOf(file)}`]),
  ].map(([name, said]) => el("li", {}, el("span", {}, name), el("span", { class: "soft" }, said)));
  const more = taken + left_out - rows.length;
  if (more) rows.push(el("li", { class: "soft" }, `and ${number(more)} more`));
  // What is missing must not go unnoticed.
  const shown = { open: left_out > 0 };
  return el("details", shown, el("summary", {}, words), el("ul", { class: "sources" }, ...rows));
}

const sourceOf = ({ source }) => (source === "UTF-8" ? "" : `, from ${source}`);

/** The names in the parts of a text, each once. */
export const stylesOf = (parts) => [...new Set(parts.split(",").map((one) => one.split(":")[0]))];

function styles(parts, use) {
  if (!parts) return null;
  const names = stylesOf(parts);
  const shown = names.slice(0, MOST_STYLES).join(", ");
  const more = names.length > MOST_STYLES ? ` and ${number(names.length - MOST_STYLES)} more` : "";
  const change = ({ target }) => use(target.checked ? parts : "");
  const box = el("input", { type: "checkbox", name: "styles", role: "switch", on: { change } });
  const words = `Tell the texts apart, as the styles ${shown}${more}`;
  return el("label", { class: "switch" }, box, el("span", {}, words));
}

function rare(found) {
  if (!found.length) return null;
  const characters = found
    .slice(0, MOST_RARE)
    .flatMap(({ char, count: times }) => [
      el("code", { class: "rare", title: count(times, "time") }, char),
      " ",
    ]);
  return el("p", { class: "soft" }, "Too rare to learn: ", ...characters);
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
