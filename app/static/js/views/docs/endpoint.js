// One endpoint of the API: what it does, its fields with a control for each, a call to try, and its
// answers.

import { t } from "../../language.js";
import { el, field, select } from "../../ui.js";
import { inline, prose } from "./prose.js";
import { anchorOf, exampleOf, fieldsOf, parameterOf, urlOf } from "./schema.js";
import { Trial } from "./trial.js";

const STREAMED = ["text/plain", "text/event-stream", "application/x-ndjson"];
/** Bodies in the order in which they are easy to try; forms are as good as these. */
const BODIES = ["application/json", "text/plain", "application/zip"];

/** The element of an operation. `models` resolves to the names of models to offer. */
export function endpoint(operation, document, models) {
  const { method, path, summary } = operation;
  const root = el(
    "details",
    { class: "endpoint", id: anchorOf(operation) },
    el(
      "summary",
      {},
      el("span", { class: `method ${method.toLowerCase()}` }, method),
      el("code", { class: "path" }, path),
      el("span", { class: "purpose", lang: "en" }, summary),
    ),
  );
  // Forty of them, with some hundred fields each, are made when they are looked at.
  root.addEventListener("toggle", () => root.append(...contents(operation, document, models)), {
    once: true,
  });
  return root;
}

function contents(operation, document, models) {
  const call = new Call(operation, document, models);
  return [
    el("div", { class: "about", lang: "en" }, ...prose(operation.description ?? "")),
    call.root,
    answers(operation, document),
  ];
}

/** The form of a call. */
class Call {
  #operation;
  #parameters;
  #controls = new Map();
  #accept = null;
  #type = null;
  #body = null;
  #file = null;
  #trial;

  constructor(operation, document, models) {
    this.#operation = operation;
    const given = operation.parameters ?? [];
    this.#parameters = given.map((one) => parameterOf(one, document));
    const fields = this.#parameters.map((one) => this.#field(one, models));
    const nodes = [...fields, ...this.#bodyNodes(document), ...this.#acceptNodes()];
    this.#trial = new Trial(() => this.#wanted());
    const on = {
      submit: (event) => {
        event.preventDefault();
        this.#trial.send();
      },
      input: () => this.#trial.describe(),
    };
    this.root = el(
      "form",
      { class: "call", "aria-label": t("Try {method} {path}", operation), on },
      nodes.length ? el("div", { class: "parameters" }, ...nodes) : null,
      this.#trial.root,
    );
    models.then((names) => this.#prefill(names));
  }

  #field(parameter, models) {
    const { name, type, isRequired, fallback, about, choices, place, isList } = parameter;
    const placeholder = fallback && t("{value} by default", { value: fallback });
    const properties = { name, required: isRequired, autocomplete: "off", spellcheck: "false" };
    const control = choices
      ? select([["", placeholder || t("not set")], ...choices.map((one) => [one])], properties)
      : el(isList ? "textarea" : "input", {
          ...properties,
          placeholder: isList ? t("one on each line") : placeholder,
          rows: isList && "1",
        });
    if (name === "model") offer(control, models);
    this.#controls.set(parameter, control);
    const kind = [type, place === "query" ? null : place];
    const side = el("span", { class: "value" }, ...kindNodes(kind, isRequired));
    return named(
      field(name, control, { hint: el("span", { lang: "en" }, ...inline(about)), side }),
    );
  }

  #bodyNodes(document) {
    const { content = {} } = this.#operation.requestBody ?? {};
    const types = BODIES.filter((type) => content[type]);
    if (!types.length) return [];
    this.#body = el("textarea", { name: "body", rows: "6", spellcheck: "false" });
    this.#file = el("input", { name: "file", type: "file" });
    this.#type = select(
      types.map((type) => [type]),
      { name: "content type" },
    );
    // A text needs no document, and its options are in the query.
    const first = this.#parameters.some(({ place }) => place === "query") ? "text/plain" : types[0];
    this.#type.value = types.includes(first) ? first : types[0];
    const body = field(t("Body"), this.#body);
    const file = field(t("Body from a file"), this.#file, { name: "file" });
    const folded = el("div", { class: "body-fields" });
    const changed = () => {
      const isJson = this.#type.value === "application/json";
      const { schema } = content[this.#type.value];
      this.#body.value = isJson ? JSON.stringify(exampleOf(schema, document), null, 2) : "";
      body.hidden = this.#type.value === "application/zip";
      file.hidden = isJson;
      folded.replaceChildren(
        ...(isJson ? [fieldList(t("Fields of the body"), schema, document)] : []),
      );
    };
    this.#type.addEventListener("input", changed);
    changed();
    const choice = types.length > 1 ? [named(field("Content-Type", this.#type))] : [];
    return [...choice, body, file, folded];
  }

  #acceptNodes() {
    const types = successTypes(this.#operation);
    if (types.length < 2) return [];
    this.#accept = select(
      types.map((type) => [type]),
      { name: "accept" },
    );
    return [named(field("Accept", this.#accept))];
  }

  /** Models that are there take the place of those in the document's examples. */
  #prefill(names) {
    const { method } = this.#operation;
    for (const [{ name, example, isRequired }, control] of this.#controls) {
      if (control.value || name !== "model") continue;
      // Nobody should delete, replace or rename what an example names.
      if (method === "GET" || (method === "POST" && this.#operation.path.includes("inspect")))
        control.value = names.includes(example) ? example : (names[0] ?? "");
      else if (isRequired) control.placeholder = t("name of a model");
    }
    if (this.#body?.value.includes('"linux"') && !names.includes("linux") && names.length)
      this.#body.value = this.#body.value.replaceAll('"linux"', JSON.stringify(names[0]));
    this.#trial.describe();
  }

  #wanted() {
    const { method, path, security } = this.#operation;
    const values = [...this.#controls].map(([parameter, { value }]) => [parameter, value.trim()]);
    const headers = values
      .filter(([{ place }, value]) => place === "header" && value)
      .map(([{ name }, value]) => [name, value]);
    const accept = this.#accept?.value;
    if (accept) headers.push(["Accept", accept]);
    const file = this.#file?.files[0] ?? null;
    const body = this.#body && !file ? this.#body.value : null;
    if (this.#type) headers.push(["Content-Type", this.#type.value]);
    return {
      method,
      path: urlOf(path, values),
      headers,
      body,
      file: file ?? (this.#type?.value === "application/zip" ? new File([], "model.zip") : null),
      isStream: STREAMED.includes(accept ?? successTypes(this.#operation)[0]),
      needsKey: Boolean(security?.length),
    };
  }
}

/** The media types of what an operation answers when all is well. */
function successTypes({ responses }) {
  const status = Object.keys(responses).find((one) => one < "300");
  return Object.keys(responses[status]?.content ?? {});
}

/** Names of an API are code. */
function named(row) {
  row.querySelector("label").classList.add("code");
  return row;
}

/** What kind of value a field takes, which is the document's, and whether there must be one. */
function kindNodes(kind, isRequired, more = "") {
  const facts = [isRequired && t("required"), more].filter(Boolean);
  return [
    el("span", { lang: "en" }, kind.filter(Boolean).join(" · ")),
    facts.length ? ` · ${facts.join(" · ")}` : null,
  ];
}

let lists = 0;

/** Lists models for a field, without narrowing what may be typed. */
function offer(control, models) {
  lists += 1;
  const id = `models-${lists}`;
  models.then((names) => {
    control.setAttribute("list", id);
    control.after(el("datalist", { id }, ...names.map((name) => el("option", { value: name }))));
  });
}

function answers({ responses }, document) {
  const rows = Object.entries(responses).map(([status, { description, content = {} }]) => {
    const [type, { schema, example } = {}] =
      Object.entries(content).find(([one]) => one.includes("json")) ?? [];
    const types = Object.keys(content).join(", ");
    const isProblem = type === "application/problem+json";
    return el(
      "li",
      {},
      el(
        "p",
        {},
        el("strong", {}, status),
        el("span", { lang: "en" }, ` ${description} `),
        el("span", { class: "soft small", lang: "en" }, types),
      ),
      schema && !isProblem && status < "300" ? shape(schema, example, document) : null,
    );
  });
  return el("div", { class: "answers" }, el("h3", {}, t("Answers")), el("ul", {}, ...rows));
}

function shape(schema, example, document) {
  const shown = example ?? exampleOf(schema, document);
  return el(
    "div",
    {},
    el("pre", { class: "code", tabindex: "0" }, JSON.stringify(shown, null, 2)),
    fieldList(t("Fields of the answer"), schema, document),
  );
}

function fieldList(label, schema, document) {
  const fields = fieldsOf(schema, document);
  if (!fields.length) return "";
  return el("details", { class: "fields" }, el("summary", {}, label), definitions(fields));
}

const definitions = (fields) =>
  el(
    "dl",
    {},
    ...fields.flatMap(({ name, type, about, isRequired, fallback, fields: inner }) => [
      el(
        "dt",
        {},
        el("code", {}, name),
        el(
          "span",
          { class: "soft small" },
          ...kindNodes(
            [type],
            isRequired,
            fallback && t("{value} by default", { value: fallback }),
          ),
        ),
      ),
      el(
        "dd",
        {},
        el("span", { lang: "en" }, ...inline(about)),
        inner.length ? definitions(inner) : null,
      ),
    ]),
  );
