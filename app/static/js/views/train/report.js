// The corpus doctor's report on a text. Knows no request.

import { counted, t, woven } from "../../language.js";
import { reported, saying } from "../../reported.js";
import { bytes, el, englishSentence, number, percent } from "../../ui.js";

const ENCODINGS = { ascii: t("Plain ASCII"), "utf-8": "UTF-8", bytes: t("Read as bytes") };
const LINE_ENDS = {
  crlf: t("Windows line endings"),
  cr: t("classic Mac OS line endings"),
  mixed: t("mixed line endings"),
  none: t("no line endings"),
};
/** Smaller shares of repeated lines are not mentioned. */
const REPEATED = 0.005;
const MOST_RARE = 24;
const AS_BYTES = "“Read as: bytes” under Options";
const OR_BYTES = /,? or pass tokens=bytes[^.;]*/;
const MOST_STYLES = 8;
/** What the server calls a file without a name. */
const UNNAMED = "the file";

/** A sentence about a text; empty if nothing about it is unusual. */
export function factsOf(report) {
  const isWarned = report.warnings.some((text) => /\blines\b/.test(text));
  const facts = [
    ENCODINGS[report.encoding],
    // If they were converted, that is among the normalisations.
    !report.normalised.length && LINE_ENDS[report.line_ends],
    ...report.normalised.map(reported),
    report.duplicate_line_share > REPEATED &&
      !isWarned &&
      t("{share} of lines are repeats", { share: percent(report.duplicate_line_share) }),
  ].filter(Boolean);
  return joined(facts);
}

/** Clauses as a sentence. */
const joined = (clauses) => (clauses.length ? `${clauses.join(t("; "))}${t(".")}` : "");

/** The sizes of a text as pairs of number and unit; null if it could not be read. */
export function sizesOf({ characters, distinct, lines, encoding }) {
  if (characters === null) return null;
  return [
    [number(characters), encoding === "bytes" ? t("bytes") : t("characters")],
    [number(distinct), t("distinct")],
    [number(lines), t("lines")],
  ];
}

/** A sentence about what a text was made of; empty if it is as it was sent. */
export function madeOf({ sources, hidden = 0 }) {
  if (!sources) return "";
  const [first] = sources.files;
  if (sources.taken + sources.left_out === 1) {
    if (first.source === "UTF-8") return "";
    return /^an? /.test(first.source)
      ? t("The text of {kind}.", { kind: reported(first.source) })
      : t("Converted from {encoding}.", { encoding: first.source });
  }
  return joined([
    counted(sources.taken, number(sources.taken), "Made of {n} file", "Made of {n} files"),
    ...(sources.left_out ? [t("{n} left out", { n: number(sources.left_out) })] : []),
    ...(hidden
      ? [counted(hidden, number(hidden), "{n} hidden file not sent", "{n} hidden files not sent")]
      : []),
  ]);
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
    report.converted &&
      el("p", {}, t("Converted from {encoding}.", { encoding: report.converted })),
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
  return warnings.map((warning) => el("p", { class: kind }, saying(words(warning), inOptions)));
}

/** A warning as an English sentence that names the page's option where it names the API's. */
export const inOptions = (warning) =>
  englishSentence(warning).replace(/pass tokens=bytes/i, (found) =>
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
    ...omitted.map(({ name, reason }) => [
      name === UNNAMED ? reported(name) : name,
      t("left out: {reason}", { reason: reported(reason) }),
    ]),
    ...files.map((file) => [file.name, sourceOf(file)]),
  ].map(([name, said]) => el("li", {}, el("span", {}, name), el("span", { class: "soft" }, said)));
  const more = taken + left_out - rows.length;
  if (more) rows.push(el("li", { class: "soft" }, t("and {n} more", { n: number(more) })));
  // What is missing must not go unnoticed.
  const shown = { open: left_out > 0 };
  return el("details", shown, el("summary", {}, words), el("ul", { class: "sources" }, ...rows));
}

const sourceOf = ({ bytes: size, source }) =>
  source === "UTF-8"
    ? bytes(size)
    : t("{size}, from {source}", { size: bytes(size), source: reported(source) });

/** The names in the parts of a text, each once. */
export const stylesOf = (parts) => [...new Set(parts.split(",").map((one) => one.split(":")[0]))];

function styles(parts, use) {
  if (!parts) return null;
  const names = stylesOf(parts);
  const shown = names.slice(0, MOST_STYLES).join(t(", "));
  const more = names.length - MOST_STYLES;
  const change = ({ target }) => use(target.checked ? parts : "");
  const box = el("input", { type: "checkbox", name: "styles", role: "switch", on: { change } });
  const words =
    more > 0
      ? t("Tell the texts apart, as the styles {styles} and {n} more", {
          styles: shown,
          n: number(more),
        })
      : t("Tell the texts apart, as the styles {styles}", { styles: shown });
  return el("label", { class: "switch" }, box, el("span", {}, words));
}

function rare(found) {
  if (!found.length) return null;
  const characters = found
    .slice(0, MOST_RARE)
    .flatMap(({ char, count: times }) => [
      el("code", { class: "rare", title: timesOf(times) }, char),
      " ",
    ]);
  return el("p", { class: "soft" }, ...woven("Too rare to learn: {characters}", { characters }));
}

const timesOf = (times) => counted(times, number(times), "{n} time", "{n} times");

function preset(name, use) {
  if (!name || name === "auto") return null;
  const click = (event) => {
    use(name);
    event.target.textContent = t("Used");
  };
  return el(
    "p",
    {},
    t("This text looks right for the preset {name}.", { name }),
    " ",
    el("button", { type: "button", class: "quiet", on: { click } }, t("Use it")),
  );
}
