// A long text on canvas, each character in a box of its own: coloured, and with guesses beneath.
// Knows no model; what a colour means is told to it.
//
// Thirty thousand glyphs would be thirty thousand elements. The canvases are strips, drawn when
// they come near the screen and emptied when they have left it.

import { colour, el, glyph, spoken } from "../ui.js";

const STRIP = 720;
const TAB = 4;
const NEAR = "300px";

/**
 * @param {{label: string, pointed: (index: number | null) => string}} options
 *   `pointed` is told which character is meant and gives what is to be said of it.
 */
export function grid({ label, pointed }) {
  const strips = el("div", { class: "strips" });
  const heard = el("p", { class: "heard", "aria-live": "polite" });
  const mark = el("div", { class: "mark", hidden: true });
  const root = el(
    "div",
    {
      class: "grid",
      tabindex: "0",
      role: "group",
      "aria-label": label,
      "aria-description": "Arrow keys go through the characters",
      on: {
        pointermove: moved,
        pointerdown: moved,
        pointerleave: () => point(null),
        keydown: pressed,
        blur: () => point(null),
      },
    },
    strips,
    mark,
    heard,
  );

  let text = { chars: [], paint: () => null, below: null };
  let width = 0;
  let lines = [];
  let lineOf = [];
  let box = null;
  let at = null;

  const watcher = new IntersectionObserver(
    (entries) =>
      entries.forEach(({ target, isIntersecting }) =>
        isIntersecting ? draw(target) : empty(target),
      ),
    { root, rootMargin: NEAR },
  );
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 1) return;
    width = entry.contentRect.width;
    if (width) lay();
  }).observe(root);
  addEventListener("colours", () => {
    paints.clear();
    strips.querySelectorAll("canvas").forEach((canvas) => canvas.isDrawn && draw(canvas));
  });

  /**
   * Shows a text.
   *
   * @param {{chars: string[], paint: (i: number) => [string, number] | null,
   *   below: ((i: number) => [string, number, boolean][]) | null}} what
   *   `paint` gives a colour's name and its strength from 0 to 1; `below` the guesses, their
   *   probability, and whether it came true.
   */
  function update(what) {
    const isSameText = what.chars === text.chars && Boolean(what.below) === Boolean(text.below);
    text = what;
    if (isSameText && lines.length) repaint();
    else lay();
  }

  function lay() {
    point(null);
    if (!width) return;
    const style = getComputedStyle(root);
    const size = parseFloat(style.fontSize);
    const measure = document.createElement("canvas").getContext("2d");
    measure.font = `${size}px ${style.fontFamily}`;
    const unit = measure.measureText("m").width;
    const rows = text.below ? 6 : 1;
    box = {
      size,
      font: style.fontFamily,
      width: Math.ceil(unit) + (text.below ? 3 : 1),
      row: Math.round(size * (text.below ? 1.32 : 1.62)),
    };
    box.height = box.row * rows + (text.below ? 14 : 0);
    const columns = Math.max(8, Math.floor(width / box.width));
    lines = [];
    lineOf = new Uint32Array(text.chars.length);
    let line = null;
    let column = 0;
    text.chars.forEach((char, i) => {
      const wide =
        char === "\t" && !text.below
          ? TAB - (column % TAB)
          : char > "\u0fff" && measure.measureText(char).width > 1.4 * unit
            ? 2
            : 1;
      if (!line || column + wide > columns) {
        line = { start: i, columns: [] };
        lines.push(line);
        column = 0;
      }
      line.columns.push(column);
      lineOf[i] = lines.length - 1;
      column += wide;
      // With guesses beneath, a line of its own for each line of the text would be mostly empty.
      if (char === "\n" && !text.below) line = null;
    });
    const perStrip = Math.max(1, Math.floor(STRIP / box.height));
    root.scrollTop = 0;
    watcher.disconnect();
    strips.replaceChildren();
    for (let first = 0; first < lines.length; first += perStrip) {
      const canvas = el("canvas", { "aria-hidden": "true" });
      const count = Math.min(perStrip, lines.length - first);
      canvas.style.height = `${count * box.height}px`;
      Object.assign(canvas, { first, count });
      strips.append(canvas);
      watcher.observe(canvas);
    }
  }

  const paints = new Map();
  const paint = (name) => paints.get(name) ?? paints.set(name, colour(name)).get(name);

  let repainting = 0;

  /** What is in sight gets its new colours once for each frame, however often a slider asks; the
      guesses stay as they are. */
  function repaint() {
    repainting ||= requestAnimationFrame(() => {
      repainting = 0;
      for (const canvas of strips.children) if (canvas.isDrawn) drawText(canvas);
    });
  }

  function empty(canvas) {
    canvas.isDrawn = false;
    canvas.width = canvas.height = 0;
  }

  function draw(canvas) {
    canvas.isDrawn = true;
    const density = Math.min(2, devicePixelRatio || 1);
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(canvas.count * box.height * density);
    const context = canvas.getContext("2d");
    context.scale(density, density);
    context.textAlign = "center";
    context.textBaseline = "middle";
    drawText(canvas);
    if (text.below) drawBelow(canvas);
  }

  function drawText(canvas) {
    const context = canvas.getContext("2d");
    const [ink, soft] = [paint("--ink"), paint("--soft")];
    context.font = `${box.size}px ${box.font}`;
    each(canvas, (index, x, top, boxWidth) => {
      context.clearRect(x, top, boxWidth, box.row);
      const painted = text.paint(index);
      if (painted) {
        context.globalAlpha = painted[1];
        context.fillStyle = paint(painted[0]);
        context.fillRect(x, top, boxWidth - (text.below ? 1 : 0), box.row);
        context.globalAlpha = 1;
      }
      const char = text.chars[index];
      if (char === " " && !text.below) return;
      const isSeen = char.trim();
      context.fillStyle = isSeen ? ink : soft;
      context.fillText(isSeen ? char : glyph(char), x + boxWidth / 2, top + box.row / 2 + 1);
    });
  }

  function drawBelow(canvas) {
    const context = canvas.getContext("2d");
    const [ink, soft, guess] = [paint("--ink"), paint("--soft"), paint("--guess")];
    context.font = `${box.size * 0.86}px ${box.font}`;
    each(canvas, (index, x, top, boxWidth) => {
      text.below(index).forEach(([char, probability, cameTrue], row) => {
        const y = top + (row + 1) * box.row;
        context.globalAlpha = Math.min(1, probability);
        context.fillStyle = guess;
        context.fillRect(x, y, boxWidth - 1, box.row);
        context.globalAlpha = 1;
        context.fillStyle = probability > 0.04 ? ink : soft;
        // A wide guess beneath a narrow character is pressed together rather than over others.
        context.fillText(glyph(char), x + boxWidth / 2, y + box.row / 2 + 1, boxWidth);
        if (cameTrue) context.fillRect(x + 1, y + box.row - 2, boxWidth - 3, 2);
      });
    });
  }

  /** All characters of a strip: `act` gets the index, where its box is, and how wide that is. */
  function each(canvas, act) {
    for (let number = 0; number < canvas.count; number++) {
      const { start, columns } = lines[canvas.first + number];
      columns.forEach((column, i) => {
        const wide = (columns[i + 1] ?? column + 1) - column;
        act(start + i, column * box.width, number * box.height, wide * box.width);
      });
    }
  }

  // Pointing

  function place(index) {
    const line = lines[lineOf[index]];
    return { left: line.columns[index - line.start] * box.width, top: lineOf[index] * box.height };
  }

  function point(index) {
    at = index;
    mark.hidden = index === null;
    const said = pointed(index);
    if (index === null) return;
    const { left, top } = place(index);
    Object.assign(mark.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${box.width}px`,
      height: `${box.row}px`,
    });
    return said;
  }

  function indexAt(x, y) {
    const line = lines[Math.floor(y / box.height)];
    if (!line) return null;
    const column = Math.floor(x / box.width);
    let i = line.columns.findLastIndex((start) => start <= column);
    if (i === line.columns.length - 1 && column > line.columns[i] + 2) i = -1;
    return i < 0 ? null : line.start + i;
  }

  function moved(event) {
    if (!box) return;
    const origin = strips.getBoundingClientRect();
    const index = indexAt(event.clientX - origin.left, event.clientY - origin.top);
    if (index !== at) point(index);
  }

  function pressed(event) {
    if (!lines.length || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = text.chars.length - 1;
    let to = null;
    if (event.key === "ArrowRight") to = at === null ? 0 : at + 1;
    else if (event.key === "ArrowLeft") to = at === null ? last : at - 1;
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = last;
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && at !== null) {
      const line = lines[lineOf[at] + (event.key === "ArrowDown" ? 1 : -1)];
      if (line) to = line.start + Math.min(line.columns.length - 1, at - lines[lineOf[at]].start);
    }
    if (to === null) return;
    event.preventDefault();
    to = Math.max(0, Math.min(last, to));
    heard.textContent = `${spoken(text.chars[to])}: ${point(to)}`;
    const { top } = place(to);
    if (top < root.scrollTop || top + box.height > root.scrollTop + root.clientHeight)
      root.scrollTop = top - root.clientHeight / 2;
  }

  /** Scrolls to a character and marks it. */
  function reveal(index) {
    if (!lines.length) return;
    root.scrollTop = place(index).top;
    point(index);
  }

  return { root, update, reveal };
}
