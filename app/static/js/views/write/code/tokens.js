// The tokens of code, as highlight.js finds them; fetched with the first text that is code. Knows no
// element.

import hljs from "../../../../vendor/highlight/core.min.js";
import c from "../../../../vendor/highlight/c.min.js";
import latex from "../../../../vendor/highlight/latex.min.js";

hljs.registerLanguage("c", c);
hljs.registerLanguage("latex", latex);

/** What highlight.js calls them, and how they are shown; the rest is plain. */
const KINDS = {
  keyword: "keyword",
  type: "keyword",
  built_in: "keyword",
  literal: "number",
  number: "number",
  string: "string",
  comment: "comment",
  meta: "meta",
  title: "title",
};
const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"', "&#x27;": "'" };

/** The tokens of a text, `{kind, start, end}` in UTF-16 units; inner ones follow those around them. */
export function tokensOf(text, language) {
  const { value } = hljs.highlight(text, { language, ignoreIllegals: true });
  const tokens = [];
  const open = [];
  let at = 0;
  // All that highlight.js writes are spans of a class, their ends, and five entities.
  for (const [part, name] of value.matchAll(
    /<span class="hljs-([a-z_]+)[^>]*>|<\/span>|&[#\w]+;|[^<&]+/g,
  )) {
    if (name) {
      const token = { kind: KINDS[name] ?? null, start: at, end: at };
      tokens.push(token);
      open.push(token);
    } else if (part === "</span>") open.pop().end = at;
    else at += (ENTITIES[part] ?? part).length;
  }
  return tokens.filter(({ kind }) => kind);
}
