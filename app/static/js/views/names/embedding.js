// The HTML that puts the names on another page, and the models that have names to give. Knows no
// element.

/** Characters of an average line below which a text looks like a list. */
const LINE = 40;

/** The models trained on lists, those with the shortest lines first. */
export function lists(models) {
  const length = ({ corpus }) =>
    corpus?.lines ? corpus.characters / corpus.lines : Number.POSITIVE_INFINITY;
  return models
    .filter((one) => length(one) < LINE)
    .sort((one, other) => length(one) - length(other));
}

/** The two lines of HTML for another page; `server` is its URL, attributes are pairs, and `true` is one without value. */
export function snippet(server, attributes) {
  const written = attributes.map(([name, value]) =>
    value === true ? ` ${name}` : ` ${name}="${escaped(value)}"`,
  );
  return (
    `<script type="module" src="${server}/widget/charloom-names.js"></script>\n` +
    `<charloom-names${written.join("")}></charloom-names>`
  );
}

const escaped = (value) => value.replace(/&/g, "&amp;").replace(/"/g, "&quot;");
