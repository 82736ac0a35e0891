// Which language a text is written in, if it is code. Knows no element.

/** UTF-16 units from a text's beginning that decide. */
const LOOKED_AT = 8000;
/** Share of lines that end as statements and blocks do, from which a text is C. */
const STATEMENTS = 0.3;
/** Units in which LaTeX has a command at least. */
const BETWEEN_COMMANDS = 200;

/** "c", "latex" or null. */
export function languageOf(text) {
  const head = text.slice(0, LOOKED_AT);
  const commands = head.match(/\\[A-Za-z]{2,}/g)?.length ?? 0;
  if (/\\[a-z]+\{|\$[^$]+\$/.test(head) && commands * BETWEEN_COMMANDS >= head.length)
    return "latex";
  const lines = head.split("\n").filter((line) => line.trim());
  const ends = lines.filter((line) => /[;{}]\s*$/.test(line)).length;
  const isC = /[{}]/.test(head) && /\w\(/.test(head) && ends >= STATEMENTS * lines.length;
  return isC && lines.length > 1 ? "c" : null;
}
