// Which names are wanted, as an address and as attributes of the widget, and what can be wrong with
// that. The names of fields are those of `GET /names`. Knows no element.

import { t } from "../../language.js";
import { MAX_NAME_LENGTH, MAX_NAMES } from "../../limits.js";

/** The fields of an address, in its order; `seed` is that of the names shown. */
export const FIELDS = [
  "model",
  "style",
  "starts_with",
  "contains",
  "ends_with",
  "pattern",
  "min_length",
  "max_length",
  "count",
  "temperature",
  "novel",
  "seed",
];
const TEXTS = ["starts_with", "contains", "ends_with", "pattern"];
/** Numbers with their bounds. */
const WHOLE = {
  min_length: [1, MAX_NAME_LENGTH],
  max_length: [1, MAX_NAME_LENGTH],
  count: [1, MAX_NAMES],
};
const TEMPERATURES = [0.1, 2];
/** As many digits as a JavaScript number holds exactly. */
const SEED = /^\d{1,15}$/;

/** The query of an address; it asks the API for the same names. Empty fields are left out. */
export function toQuery(wanted) {
  const given = FIELDS.filter((name) => wanted[name]).map((name) => [name, wanted[name]]);
  return new URLSearchParams(given);
}

/** What a query asks for, without what it does not say or says wrongly; null if it says nothing. */
export function fromQuery(query) {
  const read = {
    model: (text) => text || null,
    style: (text) => text,
    ...Object.fromEntries(TEXTS.map((name) => [name, (text) => text.slice(0, MAX_NAME_LENGTH)])),
    ...Object.fromEntries(
      Object.entries(WHOLE).map(([name, bounds]) => [name, (text) => within(text, bounds)]),
    ),
    temperature: (text) => within(text, TEMPERATURES),
    novel: (text) => (["true", "false"].includes(text) ? text : null),
    seed: (text) => (SEED.test(text) ? text : null),
  };
  const found = FIELDS.filter((name) => query.get(name))
    .map((name) => [name, read[name](query.get(name))])
    .filter(([, value]) => value !== null);
  return found.length ? Object.fromEntries(found) : null;
}

const within = (text, [low, high]) => (low <= Number(text) && Number(text) <= high ? text : null);

/** What is wrong with what is wanted, by fields as the API lists it, in the words of the form. */
export function faultsOf(wanted) {
  const faults = Object.entries(WHOLE)
    .filter(([name, [low, high]]) => {
      const value = Number(wanted[name] || low);
      return !(Number.isInteger(value) && low <= value && value <= high);
    })
    .map(([field, [low, high]]) => ({
      field,
      message: t("a whole number from {low} to {high}", { low, high }),
    }));
  const [shortest, longest] = [Number(wanted.min_length), Number(wanted.max_length)];
  if (!faults.length && longest && shortest > longest)
    faults.push({ field: "min_length", message: t("must not be more than the longest") });
  return faults;
}

/** Fields in the server's English, with the words of the form. */
const LABELS = {
  max_length: "the longest",
  min_length: "the shortest",
  starts_with: "the beginning",
};

/** The server's message about a field, as the form says it. */
export const inWords = (message) =>
  message.replace(/\b[a-z]+_[a-z]+\b/g, (name) => LABELS[name] ?? name);

/** Every element has an attribute `style`. */
const ATTRIBUTES = { style: "in-style" };

/** The widget's attributes for what is wanted, as pairs; `true` is one without a value. */
export function attributesOf(wanted) {
  return FIELDS.filter((name) => name !== "seed" && wanted[name] && wanted[name] !== "false").map(
    (name) => [
      ATTRIBUTES[name] ?? name.replaceAll("_", "-"),
      wanted[name] === "true" || wanted[name],
    ],
  );
}
