// What every view uses: elements, numbers as people write them, small pieces of a page. Text
// reaches the page as text nodes only, so a model's output can never become markup. Knows no
// server and no view.

import { LANGUAGE, t } from "./language.js";
import { at } from "./root.js";

/**
 * Creates an element.
 *
 * Properties become attributes, except `on` (event → handler), `data` (the dataset), and `value`,
 * `checked` and `disabled`, which are set as properties. `true` gives an empty attribute; `false`
 * and `null` give none. A `href` that begins with a slash is a path of the server's. Children are nodes or strings; `null` is skipped.
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value))
        element.addEventListener(event, handler);
    } else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "href") element.setAttribute(name, at(value));
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Numbers and times

const whole = new Intl.NumberFormat(LANGUAGE);
const losses = new Intl.NumberFormat(LANGUAGE, {
  minimumFractionDigits: 3,
  maximumFractionDigits: 3,
});
const twoDigits = new Intl.NumberFormat(LANGUAGE, {
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});
const compact = new Intl.NumberFormat(LANGUAGE, { notation: "compact", maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 0 });
const finePercents = new Intl.NumberFormat(LANGUAGE, {
  style: "percent",
  maximumSignificantDigits: 2,
});
const dates = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });

const UNKNOWN = "–";

/** Formats finite numbers; anything else becomes a dash. */
const known = (format) => (value) =>
  value === null || value === undefined || !Number.isFinite(value) ? UNKNOWN : format(value);

export const number = known((value) => whole.format(Math.round(value)));
export const hundredths = known((value) => twoDigits.format(value));
export const loss = known((value) => losses.format(value));
// Japanese has no short form below 10,000, where a tenth says nothing.
export const short = known((value) => compact.format(value < 1000 ? value : Math.round(value)));
export const percent = known((value) =>
  value > 0 && value < 0.001
    ? `<${finePercents.format(0.001)}`
    : (value < 0.095 ? finePercents : percents).format(value),
);

export const bytes = known((value) => {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(3, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return new Intl.NumberFormat(LANGUAGE, {
    style: "unit",
    unit: units[power],
    unitDisplay: power ? "short" : "long",
    maximumSignificantDigits: 3,
  }).format(value / 1000 ** power);
});

const unit = (value, name) =>
  new Intl.NumberFormat(LANGUAGE, { style: "unit", unit: name, unitDisplay: "short" }).format(
    value,
  );

const twoUnits = (value, name, rest, smaller) =>
  rest ? `${unit(value, name)} ${unit(rest, smaller)}` : unit(value, name);

/** "40 sec", "1 min 30 sec", "25 min", "1 hr 5 min". */
export const duration = known((seconds) => {
  const rounded = Math.round(seconds);
  if (rounded < 60) return unit(rounded, "second");
  if (rounded < 600) return twoUnits(Math.floor(rounded / 60), "minute", rounded % 60, "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return unit(minutes, "minute");
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return twoUnits(hours, "hour", minutes % 60, "minute");
  return unit(Math.round(hours / 24), "day");
});

const STEPS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** How long ago a date is, as people say it; the date itself once that is more than a week. */
export function ago(date, now = Date.now()) {
  const seconds = (date - now) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 45) return t("just now");
  if (distance > 7 * 86400) return dates.format(date);
  const [name, size] = STEPS.find(([, size]) => distance >= size);
  return relative.format(Math.round(seconds / size), name);
}

/** A time element: how long ago, with the date as its tooltip; a dash if there is no date. */
export function when(timestamp) {
  const date = new Date(typeof timestamp === "string" ? timestamp : Number.NaN);
  if (Number.isNaN(date.getTime())) return el("span", {}, UNKNOWN);
  return el("time", { datetime: timestamp, title: dates.format(date) }, ago(date));
}

/** Words as a sentence: with a capital letter and a full stop. */
export const sentence = (text) => ended(text, (words) => t("{words}.", { words }));

/** The server's own words as a sentence, which is in English whatever the page's language. */
export const englishSentence = (text) => ended(text, (words) => `${words}.`);

function ended(text, end) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…。！？]$/.test(capital) ? capital : end(capital);
}

// Characters

const GLYPHS = { "\n": "⏎", " ": "␣", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };
const NAMES = { "\n": t("line end"), " ": t("space"), "\t": t("tab"), "\r": t("carriage return") };

/** A character as it is shown: invisible ones as a symbol or a code point. */
export const glyph = (char) => GLYPHS[char] ?? (/^[\p{C}]$/u.test(char) ? code(char) : char);

/** A character as it is read aloud. */
export const spoken = (char) => NAMES[char] ?? (/^[\p{C}]$/u.test(char) ? code(char) : char);

const code = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

// Pieces of a page

/** Long enough for any browser to have begun saving a file. */
const SAVING_MILLISECONDS = 60_000;

/** Draws each item; where that fails, `instead` draws it, and the others stay as they are. */
export const drawn = (items, draw, instead) =>
  items.map((item) => {
    try {
      return draw(item);
    } catch (error) {
      reportError(error);
      return instead(item);
    }
  });

/** The top of a view: its title and its purpose. */
export function heading(title, lead) {
  return el("div", { class: "view-head" }, el("h1", {}, title), el("p", { class: "lead" }, lead));
}

let fields = 0;

/** A label and its control; screen readers read `hint` and errors with it. */
export function field(label, control, { hint = null, name = control.name, side = null } = {}) {
  fields += 1;
  control.id ||= `field-${fields}`;
  const { id } = control;
  const error = el("p", { class: "wrong", id: `${id}-error`, hidden: true });
  const about = hint ? el("p", { class: "hint", id: `${id}-hint` }, hint) : null;
  control.setAttribute(
    "aria-describedby",
    [about && `${id}-hint`, `${id}-error`].filter(Boolean).join(" "),
  );
  return el(
    "div",
    { class: "field", data: { field: name ?? "" } },
    el("div", { class: "label" }, el("label", { for: id }, label), side),
    control,
    about,
    error,
  );
}

export function select(options, properties = {}) {
  return el(
    "select",
    properties,
    ...options.map(([value, text]) => el("option", { value }, text ?? value)),
  );
}

/**
 * Shows a problem's errors at the fields they name; returns whether every error has a field. Who
 * types elsewhere keeps the focus without `focus`.
 */
export function showErrors(root, problem, { focus = true } = {}) {
  clearErrors(root);
  let first = null;
  let placed = 0;
  for (const { field: name, message } of problem.errors ?? []) {
    const place = root.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (!place) continue;
    const error = place.querySelector(".wrong");
    error.replaceChildren(...told(message));
    error.hidden = false;
    const control = place.querySelector("input, select, textarea");
    control.setAttribute("aria-invalid", "true");
    first ??= control;
    placed += 1;
    const folded = place.closest("details");
    if (folded) folded.open = true;
  }
  if (focus) first?.focus();
  return placed > 0 && placed === (problem.errors ?? []).length;
}

export function clearErrors(root) {
  for (const error of root.querySelectorAll(".wrong")) error.hidden = true;
  for (const control of root.querySelectorAll("[aria-invalid]"))
    control.removeAttribute("aria-invalid");
}

/**
 * The nodes of a text that may be a problem's: after a line end stand the server's own words, which
 * are English.
 */
export function told(text) {
  if (typeof text !== "string") return [text];
  const [words, ...english] = text.split("\n");
  if (!english.length) return [words];
  return [words && `${words} `, el("span", { lang: "en" }, english.join("\n"))];
}

/** A line for errors and progress; it takes no space while empty. */
export function message() {
  const place = el("p", { class: "message", role: "status", hidden: true });
  return {
    place,
    say(text, kind = "note", ...more) {
      place.className = `message ${kind}`;
      place.replaceChildren(...told(text), ...more);
      place.hidden = !text;
    },
    clear() {
      place.replaceChildren();
      place.hidden = true;
    },
  };
}

/** Saves a file under a name. */
export function save(file, name) {
  // Without its type: as a page of this origin it could act as one of ours.
  const href = URL.createObjectURL(file.slice(0, file.size, "application/octet-stream"));
  el("a", { download: name, href }).click();
  setTimeout(() => URL.revokeObjectURL(href), SAVING_MILLISECONDS);
}

/** Copies a text and confirms on the button. */
export async function copy(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = t("Copied");
  } catch {
    // The clipboard needs a secure context and may be refused: copy from a hidden field instead.
    const area = el("textarea", { class: "off", "aria-hidden": "true", value: text });
    document.body.append(area);
    area.select();
    button.textContent = document.execCommand("copy") ? t("Copied") : t("Not copied");
    area.remove();
  }
  setTimeout(() => {
    button.textContent = label;
  }, 1600);
}

/** Opens a dialog; resolves to the form's values, or to null when it is cancelled. */
export function ask({ title, text, fields: controls = [], confirm, danger = false }) {
  return new Promise((resolve) => {
    const dialog = el(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      el(
        "form",
        { method: "dialog" },
        el("h2", { id: "dialog-title" }, title),
        text ? el("p", {}, text) : null,
        ...controls,
        el(
          "div",
          { class: "actions end" },
          el(
            "button",
            { type: "button", class: "quiet", on: { click: () => dialog.close() } },
            t("Cancel"),
          ),
          el("button", { value: "yes", class: danger ? "danger" : "primary" }, confirm),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      const values = Object.fromEntries(new FormData(dialog.querySelector("form")));
      resolve(dialog.returnValue === "yes" ? values : null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const sheets = new Map();

/**
 * Loads a stylesheet that only some views need, of those in css/; resolves once it applies. After a
 * failure, the next call tries again.
 */
export function stylesheet(name) {
  if (!sheets.has(name))
    sheets.set(
      name,
      linked(name).catch((error) => {
        sheets.delete(name);
        throw error;
      }),
    );
  return sheets.get(name);
}

function linked(name) {
  const href = new URL(`../css/${name}`, import.meta.url).href;
  return new Promise((resolve, reject) => {
    const failed = () => {
      link.remove();
      reject(new TypeError(`${name} could not be loaded`));
    };
    const link = el("link", { rel: "stylesheet", href, on: { load: resolve, error: failed } });
    document.head.append(link);
  });
}

/**
 * Asks again and again, with pauses that grow from the first to the longest, and at once when the
 * browser is back on the network. Resolves to true once `asked` does, to false once `isOver` is.
 */
export async function until(asked, [first, longest], isOver) {
  for (let pause = first; !isOver(); pause = Math.min(longest, 2 * pause)) {
    const listening = new AbortController();
    await new Promise((resolve) => {
      setTimeout(resolve, pause);
      addEventListener("online", resolve, { signal: listening.signal });
    });
    listening.abort();
    if (!isOver() && (await asked())) return !isOver();
  }
  return false;
}

/** A colour of the stylesheet in the form a canvas accepts: "rgb(…)". */
export function colour(name) {
  const probe = el("span", { hidden: true });
  // The stylesheet's own choice also where the system forces colours upon pages.
  probe.style.forcedColorAdjust = "none";
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

const NARROW = "(max-width: 900px)";

/** Whether the rail is above or below the page rather than beside it, as in app.css. */
export const isNarrow = () => matchMedia(NARROW).matches;

/** Folds a `details` whenever the window becomes narrow, and opens it when it becomes wide. */
export function foldedOnPhones(details) {
  const narrow = matchMedia(NARROW);
  const fold = () => {
    details.open = !narrow.matches;
  };
  narrow.addEventListener("change", fold);
  fold();
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
