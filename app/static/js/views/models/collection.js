// Models as a collection: grouped by name, searched, sorted; what one writes in a line, and what
// limits give its job more time. Knows no element and no request.

import { t } from "../../language.js";

const LINE = 160;
const LATEST = "latest";

/**
 * Models by name: `main` is what the name alone stands for, or the first of its tags, `others` are
 * the rest.
 */
export function grouped(models) {
  const groups = new Map();
  for (const model of models) {
    const group = groups.get(model.name);
    if (group) group.others.push(model);
    else groups.set(model.name, { name: model.name, main: model, others: [] });
  }
  for (const group of groups.values()) {
    const latest = group.others.find(({ tag }) => tag === LATEST);
    if (!latest) continue;
    group.others = [group.main, ...group.others.filter((one) => one !== latest)];
    group.main = latest;
  }
  return [...groups.values()];
}

/** The groups that have every word of a search in a name, a tag, the notes or what they are. */
export function matching(groups, search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return groups.filter((group) => {
    const all = described(group);
    return words.every((word) => all.includes(word));
  });
}

function described({ name, main, others }) {
  const tags = others.map(({ tag }) => `:${tag}`);
  const kinds = [main.network, main.pretrained && "shipped", main.names && "list"];
  // A badge says this one.
  if (main.pretrained) kinds.push(t("shipped"));
  return [name, ...tags, main.notes, ...kinds].filter(Boolean).join("\n").toLowerCase();
}

const dateOf = ({ main }) => Date.parse(main.created_at) || 0;
const sizeOf = ({ main }) => Number(main.parameters) || 0;
const bitsOf = ({ main }) => (Number.isFinite(main.bpc) ? main.bpc : Number.POSITIVE_INFINITY);

/** Ways to sort, each with its label; what is pinned always comes first. */
export const ORDERS = {
  name: [t("Name"), () => 0],
  newest: [t("Newest"), (one, other) => dateOf(other) - dateOf(one)],
  bpc: [t("Lowest bpc"), (one, other) => bitsOf(one) - bitsOf(other) || 0],
  largest: [t("Largest"), (one, other) => sizeOf(other) - sizeOf(one)],
};

export function sorted(groups, order) {
  const [, compare] = ORDERS[order] ?? ORDERS.name;
  const isPinned = ({ main }) => Number(Boolean(main.pinned));
  return [...groups].sort(
    (one, other) =>
      isPinned(other) - isPinned(one) ||
      compare(one, other) ||
      (one.name < other.name ? -1 : Number(one.name > other.name)),
  );
}

/** A line of the last sample of a history: names with commas, or lines of text. */
export function lineOf(samples, isList) {
  const lines = (samples?.at(-1)?.text ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  // The first and the last one are likely to be cut off.
  const whole = lines.length > 2 ? lines.slice(1, -1) : lines;
  const characters = [...whole.join(isList ? ", " : " ⏎ ")];
  return characters.length > LINE ? `${characters.slice(0, LINE).join("")}…` : characters.join("");
}

/** The limits with which an ended job trains for so many seconds more, at the pace it had. */
export function moreTime({ options, progress }, seconds) {
  const elapsed = progress?.elapsed_seconds || 0;
  const factor = elapsed ? (elapsed + seconds) / elapsed : 2;
  const limits = { max_seconds: Math.max(options.max_seconds ?? 0, Math.ceil(elapsed + seconds)) };
  if (options.max_steps) limits.max_steps = Math.ceil(options.max_steps * factor);
  if (options.max_epochs) limits.max_epochs = options.max_epochs * factor;
  return limits;
}
