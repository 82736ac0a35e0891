// What the server's OpenAPI document says, as a page needs it: operations by their tags, fields with
// their types in words, examples, and the curl line of a call. Knows no element.

import { number } from "../../ui.js";

const METHODS = ["get", "post", "patch", "put", "delete"];
/** Objects in objects are told so deep. */
const DEEPEST = 3;
/** Above this, JavaScript would show a bound wrongly. */
const EXACT = Number.MAX_SAFE_INTEGER;

/** The operations of a document by their tags, in its order: `[tag, [operation, …]]`. */
export function sections(document) {
  const found = new Map();
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((one) => operations[one])) {
      const operation = { method: method.toUpperCase(), path, ...operations[method] };
      const tag = operation.tags?.at(-1) ?? "other";
      if (!found.has(tag)) found.set(tag, []);
      found.get(tag).push(operation);
    }
  }
  return [...found];
}

/** The fragment of an operation's URL: "get-models-model-history". */
export const anchorOf = ({ method, path }) =>
  `${method}${path}`
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/-$/, "");

/** A schema without its reference. What stands beside the reference comes first. */
export function resolved(schema, document) {
  if (!schema?.$ref) return schema ?? {};
  const name = schema.$ref.split("/").at(-1);
  return { ...document.components.schemas[name], ...schema, $ref: undefined };
}

/** The schema's kinds, without null. */
const kindsOf = (schema) =>
  (schema.anyOf ?? schema.oneOf ?? [schema]).filter(({ type }) => type !== "null");

/** A schema's type in words: "integer, 1 to 100", "array of string". */
export function typeOf(given, document) {
  const schema = resolved(given, document);
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return [...new Set(several.map((one) => typeOf(one, document)))].join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.format === "binary") return "file";
  if (schema.type === "array") return arrayType(schema, document);
  const bounds = boundsOf(schema);
  return [schema.type ?? "anything", bounds].filter(Boolean).join(", ");
}

function arrayType(schema, document) {
  const most = schema.maxItems ? `, at most ${number(schema.maxItems)}` : "";
  if (schema.prefixItems)
    return `[${schema.prefixItems.map((one) => typeOf(one, document)).join(", ")}]`;
  return `array of ${typeOf(schema.items ?? {}, document)}${most}`;
}

function boundsOf({ minimum, exclusiveMinimum, maximum, maxLength }) {
  if (maxLength) return `at most ${number(maxLength)} characters`;
  const most = maximum > EXACT ? "2⁶³ − 1" : maximum;
  const shown = typeof most === "number" ? plain(most) : most;
  if (minimum !== undefined && most !== undefined) return `${plain(minimum)} to ${shown}`;
  if (exclusiveMinimum !== undefined && most !== undefined)
    return `above ${plain(exclusiveMinimum)}, at most ${shown}`;
  if (minimum !== undefined) return `at least ${plain(minimum)}`;
  if (exclusiveMinimum !== undefined) return `above ${plain(exclusiveMinimum)}`;
  return most === undefined ? "" : `at most ${shown}`;
}

const plain = (value) => (Number.isInteger(value) ? number(value) : String(value));

/** The fields of an object's schema, each with those of the object that it holds. */
export function fieldsOf(given, document, depth = 0) {
  const schema = resolved(given, document);
  const required = new Set(schema.required);
  return Object.entries(schema.properties ?? {}).map(([name, field]) => ({
    name,
    type: typeOf(field, document),
    isRequired: required.has(name),
    fallback: fallbackOf(resolved(field, document)),
    about: resolved(field, document).description ?? "",
    fields: depth < DEEPEST ? fieldsOf(within(field, document), document, depth + 1) : [],
  }));
}

/** The object in a field, in whatever list or choice it stands. */
function within(given, document) {
  const schema = resolved(given, document);
  for (const kind of kindsOf(schema)) {
    const one = resolved(kind, document);
    if (one.type === "array" && one.items) return within(one.items, document);
    if (one.properties) return one;
  }
  return {};
}

/** A parameter of an operation, as its form needs it. */
export function parameterOf({ name, in: place, required, description, schema }, document) {
  const [kind] = kindsOf(resolved(schema, document));
  const choices = kind?.enum ?? (kind?.type === "boolean" ? [true, false] : null);
  return {
    name,
    place,
    isRequired: Boolean(required),
    type: typeOf(withoutNull(schema), document),
    fallback: fallbackOf(schema),
    about: description ?? schema.description ?? "",
    choices: choices?.map(String) ?? null,
    isList: kind?.type === "array",
    example: schema.examples?.[0] ?? kind?.examples?.[0] ?? "",
  };
}

const withoutNull = (schema) => (schema.anyOf ? { ...schema, anyOf: kindsOf(schema) } : schema);

/** A default as it is sent; "" where there is none. */
function fallbackOf({ default: value }) {
  if (value === undefined || value === null || value === "") return "";
  if (Array.isArray(value)) return value.join(",");
  return String(value);
}

/** What an answer or a body looks like: the document's own example, or one made of its fields. */
export function exampleOf(given, document, depth = 0) {
  const schema = resolved(given, document);
  const own = schema.example ?? schema.examples?.[0] ?? schema.default;
  if (own !== undefined && own !== null) return own;
  if (schema.enum) return schema.enum[0];
  const [kind] = kindsOf(schema);
  if (!kind) return null;
  if (kind !== schema) return exampleOf(kind, document, depth);
  if (schema.type === "array")
    return depth < DEEPEST && schema.items ? [exampleOf(schema.items, document, depth + 1)] : [];
  if (schema.properties) return objectExample(schema, document, depth);
  return (
    { string: "", integer: schema.minimum ?? 0, number: schema.minimum ?? 0, boolean: false }[
      schema.type
    ] ?? null
  );
}

function objectExample(schema, document, depth) {
  const required = new Set(schema.required);
  const wanted = Object.entries(schema.properties).filter(
    ([name, field]) => required.has(name) || hasExample(resolved(field, document)),
  );
  return Object.fromEntries(
    wanted.map(([name, field]) => [name, exampleOf(field, document, depth + 1)]),
  );
}

const hasExample = (field) =>
  field.examples !== undefined || kindsOf(field).some(({ examples }) => examples !== undefined);

/** The path of a call with its parameters: `values` are `[parameter, text]`, empty ones left out. */
export function urlOf(path, values) {
  let filled = path;
  const query = new URLSearchParams();
  for (const [{ name, place, isList }, text] of values) {
    if (place === "path")
      filled = filled.replace(`{${name}}`, encodeURIComponent(text || `{${name}}`));
    if (place !== "query" || text === "") continue;
    // A line for each, since an item may hold a comma.
    for (const one of isList ? text.split("\n") : [text]) query.append(name, one);
  }
  return query.size ? `${filled}?${query}` : filled;
}

/**
 * The line that makes a call in a shell. `headers` are `[name, value]`; `file` is sent as the body in
 * place of `body`.
 */
export function curlOf({ method, url, headers = [], body = null, file = null, isStream = false }) {
  const parts = ["curl"];
  if (isStream) parts.push("-N");
  if (method !== "GET" && !(method === "POST" && (body !== null || file !== null)))
    parts.push("-X", method);
  parts.push(quoted(url));
  for (const [name, value] of headers) parts.push("-H", quoted(`${name}: ${value}`));
  if (file !== null) parts.push("--data-binary", quoted(`@${file}`));
  else if (body !== null) parts.push(isRaw(headers) ? "--data-binary" : "-d", quoted(body));
  return parts.join(" ");
}

/** Whether line ends count, which `-d` takes out. */
const isRaw = (headers) =>
  headers.some(([name, value]) => name === "Content-Type" && value !== "application/json");

/** A word for a shell. */
const quoted = (text) => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
