// A passage in the colours of a cell as HTML for any page: it needs no script, no stylesheet and no
// server. Knows no element.

/** Of light pages: the same as in app.css. */
const EXCITED = "255, 174, 66";
const QUIET = "74, 134, 228";
const BAR = 3;

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text) => text.replace(/[&<>"]/g, (char) => ESCAPES[char]);

/**
 * @param {{chars: string[], values: ArrayLike<number>, caption: string}} picture
 * @returns {string} a figure
 */
export function embedded({ chars, values, caption }) {
  const text = runs(chars, values)
    .map(({ text, level }) => `<span style="${styleOf(level)}">${escaped(text)}</span>`)
    .join("");
  const pre = "white-space:pre-wrap;font:16px/1.7 monospace;background:#fff;color:#211f1b";
  return `<figure><pre style="${pre}">${text}</pre><figcaption>${escaped(caption)}</figcaption></figure>`;
}

/** Neighbours with the same level, from −10 to 10, as one. */
function runs(chars, values) {
  const found = [];
  chars.forEach((char, i) => {
    const level = Math.round(10 * values[i]) || 0;
    const last = found.at(-1);
    if (last?.level === level) last.text += char;
    else found.push({ text: char, level });
  });
  return found;
}

function styleOf(level) {
  const strength = Math.abs(level) / 10;
  const [colour, side] = level > 0 ? [EXCITED, "-"] : [QUIET, ""];
  const bar = `${side}${Math.round(BAR * strength)}px`;
  return `background:rgba(${colour},${strength});box-shadow:inset 0 ${bar} #211f1b`;
}
