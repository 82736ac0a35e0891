// A sheet of text that is being written: appended a frame at a time, and every character of it can
// be asked how likely it was. Knows no controls and no address.
//
// A hundred thousand characters are a hundred thousand characters of text, not of elements: which
// one is meant is worked out when somebody points at it.

import { Problem, events, request, wasAborted } from "../api.js";
import { el, glyph, loss, number, percent, spoken } from "../ui.js";

const BLOCK = 1200;
const LONGEST_BLOCK = 20_000;
/** Characters up to which probabilities are asked for; each costs some 150 bytes to keep. */
const REMEMBERED = 200_000;

/**
 * @param {{label: string, branch: (text: string) => void, changed: () => void}} options
 *   `branch` is given the text up to an alternative that was chosen, and the alternative.
 */
export function sheet({ label, branch, changed }) {
  const mark = el("div", { class: "mark", hidden: true });
  const body = el("div", { class: "body" }, mark);
  const heard = el("p", { class: "heard", "aria-live": "polite" });
  const text = el(
    "div",
    {
      class: "text",
      tabindex: "0",
      role: "group",
      "aria-label": label,
      "aria-description": "Arrow keys go through the characters, 1 to 5 choose another one",
      on: { click: clicked, keydown: pressed, copy: copied, blur: left },
    },
    body,
  );
  const alternatives = el("div", {
    class: "alternatives",
    popover: "auto",
    role: "dialog",
    "aria-label": "Alternatives",
  });
  const root = el("div", { class: "sheet" }, text, heard, alternatives);

  // Offsets count UTF-16 units from the first that was written; those of the prime are negative.
  let nodes, starts, pieces, offsets, parts, primed, length, block, blockLength;
  let waiting = "";
  let frame = 0;
  let controller = null;
  let chosen = null;

  const state = { status: "empty", characters: 0, seconds: 0, end: null, problem: null };

  reset("");

  function reset(prime) {
    nodes = new WeakMap();
    starts = [];
    pieces = [];
    offsets = [];
    parts = [];
    primed = prime;
    length = -prime.length;
    block = null;
    blockLength = 0;
    waiting = "";
    choose(null);
    body.replaceChildren(mark);
    Object.assign(state, { characters: 0, seconds: 0, end: null, problem: null });
    if (prime) append(prime, "prime");
  }

  // Writing

  /** Writes what the server sends for these fields, after the prime or, going on, after what is here. */
  async function write(fields, { goOn = false } = {}) {
    stop();
    const mine = (controller = new AbortController());
    const began = performance.now();
    const before = goOn ? state.characters : 0;
    if (!goOn) reset(fields.prime ?? "");
    const { state: from, ...rest } = goOn ? { ...fields, state: state.end.state } : fields;
    if (goOn) Object.assign(rest, { continue_from: from, prime: undefined });
    if (length + fields.length <= REMEMBERED) rest.probabilities = 5;
    Object.assign(state, { status: "writing", end: null, problem: null });
    flush();
    try {
      const response = await request("/sample", {
        json: rest,
        headers: { Accept: "text/event-stream" },
        signal: mine.signal,
      });
      for await (const event of events(response)) {
        if (mine !== controller) return;
        const data = JSON.parse(event.data);
        if (event.event === "end") state.end = data;
        if (event.event !== "text") continue;
        if (data.characters) {
          // Kept as it came: most of it nobody asks for.
          offsets.push(length + waiting.length);
          pieces.push(event.data);
        }
        state.characters += data.characters?.length ?? [...data.text].length;
        state.seconds = (performance.now() - began) / 1000;
        waiting += data.text;
        frame ||= requestAnimationFrame(flush);
      }
      if (!state.end) throw new Problem(0, "The connection broke off before the end.");
      if (state.end.finish_reason === "error")
        throw new Problem(0, "The network's numbers ran away; the text ends here.");
      if (state.end.finish_reason === "shutdown")
        throw new Problem(0, "The server stopped; the text ends here.");
      // As the server measured it: what a page is told comes in gulps.
      state.seconds = state.end.seconds;
      state.rate = (state.characters - before) / state.end.seconds;
    } catch (error) {
      if (mine !== controller || wasAborted(error)) return;
      state.problem = error;
    }
    finish();
  }

  function stop() {
    if (!controller) return;
    controller.abort();
    finish();
  }

  function finish() {
    controller = null;
    state.status = "done";
    flush();
  }

  function flush() {
    cancelAnimationFrame(frame);
    frame = 0;
    root.classList.toggle("writing", state.status === "writing");
    if (waiting) append(waiting, "");
    waiting = "";
    changed();
  }

  /** New text in as few nodes as can be; a block ends with a line, so that a browser that lays out
      the end of a long text need not look at its beginning. */
  function append(more, kind) {
    let rest = more;
    while (rest) {
      if (!block) {
        block = el("div", { class: "block" });
        blockLength = 0;
        body.append(block);
      }
      const room = Math.max(0, BLOCK - blockLength);
      let cut = rest.indexOf("\n", room) + 1;
      if (!cut && blockLength + rest.length > LONGEST_BLOCK) cut = rest.lastIndexOf(" ") + 1;
      const here = cut ? rest.slice(0, cut) : rest;
      const node = document.createTextNode(here);
      block.append(kind ? el("span", { class: kind }, node) : node);
      nodes.set(node, length);
      starts.push({ node, start: length });
      blockLength += here.length;
      length += here.length;
      parts.push(here);
      rest = rest.slice(here.length);
      if (cut) block = null;
    }
  }

  const whole = () => {
    if (parts.length > 1) parts = [parts.join("")];
    return parts[0] ?? "";
  };

  // Finding a character

  function nodeAt(offset) {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle].start <= offset) low = middle;
      else high = middle - 1;
    }
    return starts[low];
  }

  function rangeOf(offset) {
    const { node, start } = nodeAt(offset);
    const range = document.createRange();
    const size = node.data.codePointAt(offset - start) > 0xffff ? 2 : 1;
    range.setStart(node, offset - start);
    range.setEnd(node, Math.min(node.length, offset - start + size));
    return range;
  }

  /** Where a character stands; a line's end, which has no width, gets one. */
  function boxOf(offset) {
    const boxes = rangeOf(offset).getClientRects();
    const box = boxes[boxes.length - 1];
    return (
      box && {
        left: box.left,
        top: box.top,
        bottom: box.bottom,
        width: Math.max(box.width, 8),
        height: box.height,
      }
    );
  }

  function offsetAt(x, y) {
    let node, offset;
    if (document.caretPositionFromPoint)
      ({ offsetNode: node, offset } = document.caretPositionFromPoint(x, y) ?? {});
    else ({ startContainer: node, startOffset: offset } = document.caretRangeFromPoint(x, y) ?? {});
    if (!node || !nodes.has(node)) return null;
    // A caret stands between two characters: the one that is meant is under the point.
    const start = nodes.get(node);
    for (const candidate of [offset, offset - 1]) {
      if (candidate < 0 || candidate >= node.length || isTail(node.data, candidate)) continue;
      const box = boxOf(start + candidate);
      if (
        box &&
        x >= box.left - 1 &&
        x <= box.left + box.width + 1 &&
        y >= box.top - 4 &&
        y <= box.bottom + 4
      )
        return start + candidate;
    }
    return node.data[offset] === "\n" ? start + offset : null;
  }

  const isTail = (string, index) => {
    const unit = string.charCodeAt(index);
    return unit >= 0xdc00 && unit < 0xe000;
  };

  /** What the server said of the character at an offset; null of those that it did not write. */
  function detailsOf(offset) {
    if (offset < 0 || !offsets.length) return null;
    let low = 0;
    let high = offsets.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (offsets[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    let at = offsets[low];
    for (const character of JSON.parse(pieces[low]).characters) {
      if (at === offset) return character;
      at += character.char.length;
    }
    return null;
  }

  // Showing it

  alternatives.addEventListener("toggle", (event) => {
    if (event.newState === "closed") mark.hidden = true;
  });
  alternatives.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...alternatives.querySelectorAll("button")];
    const next = buttons.indexOf(document.activeElement) + step;
    buttons[(next + buttons.length) % buttons.length]?.focus();
  });
  addEventListener("scroll", () => alternatives.matches(":popover-open") && place(), {
    passive: true,
  });
  addEventListener("resize", () => choose(null));

  function choose(offset) {
    chosen = offset;
    if (offset === null) {
      if (alternatives.isConnected && alternatives.matches(":popover-open"))
        alternatives.hidePopover();
      mark.hidden = true;
      return;
    }
    const details = detailsOf(offset);
    const char = details?.char ?? String.fromCodePoint(whole().codePointAt(offset + primed.length));
    fill(char, details, offset);
    const range = rangeOf(offset).getBoundingClientRect();
    if (range.top < 90 || range.bottom > innerHeight - 90)
      scrollBy({ top: range.top - innerHeight / 2 });
    if (!alternatives.matches(":popover-open")) alternatives.showPopover();
    mark.hidden = false;
    place();
    heard.textContent = details
      ? `${spoken(char)}, ${percent(details.probability)}; ` +
        details.top.map(([other, p], i) => `${i + 1}: ${spoken(other)} ${percent(p)}`).join(", ")
      : `${spoken(char)}, given`;
  }

  function fill(char, details, offset) {
    const head = el(
      "p",
      { class: "head" },
      el("span", { class: "char" }, glyph(char)),
      details
        ? el(
            "span",
            {},
            el("strong", {}, percent(details.probability)),
            ` likely, ${loss(-Math.log(details.probability))} nats`,
          )
        : offset < 0
          ? "This was given, not written."
          : "Nothing is kept about a text this long.",
    );
    alternatives.replaceChildren(head);
    if (!details) return;
    const rows = details.top.map(([other, probability], i) => {
      const bar = el("span", { class: "bar" });
      bar.style.setProperty("--share", probability);
      const isWritten = other === details.char;
      return el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            class: isWritten ? "written" : null,
            "aria-label": `${spoken(other)}, ${percent(probability)}${isWritten ? ", written" : ""}: write on from here`,
            on: { click: () => take(i) },
          },
          el("kbd", {}, String(i + 1)),
          el("span", { class: "char" }, glyph(other)),
          bar,
          el("span", { class: "share" }, percent(probability)),
        ),
      );
    });
    alternatives.append(
      el("ol", {}, ...rows),
      el("p", { class: "hint" }, "Choose one to write on from here."),
    );
  }

  function place() {
    const box = chosen !== null && boxOf(chosen);
    if (!box) return;
    const origin = body.getBoundingClientRect();
    Object.assign(mark.style, {
      left: `${box.left - origin.left - 2}px`,
      top: `${box.top - origin.top}px`,
      width: `${box.width + 4}px`,
      height: `${box.height}px`,
    });
    const { offsetWidth: width, offsetHeight: height } = alternatives;
    const left = Math.max(8, Math.min(box.left - 28, document.body.clientWidth - width - 8));
    const below = box.bottom + 10;
    const top = below + height < innerHeight - 8 ? below : Math.max(8, box.top - height - 10);
    Object.assign(alternatives.style, { left: `${left}px`, top: `${top}px` });
  }

  function take(index) {
    const details = detailsOf(chosen);
    const other = details?.top[index]?.[0];
    if (other === undefined) return;
    const before = whole().slice(0, chosen + primed.length);
    choose(null);
    text.focus({ preventScroll: true });
    branch(before + other);
  }

  // Pointing and typing

  function clicked(event) {
    if (!getSelection().isCollapsed) return;
    choose(offsetAt(event.clientX, event.clientY));
  }

  function pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || length === -primed.length) return;
    const first = -primed.length;
    const last = length - (isTail(whole(), length - 1 + primed.length) ? 2 : 1);
    let to = null;
    if (event.key === "ArrowRight") to = chosen === null ? Math.max(0, first) : after(chosen);
    else if (event.key === "ArrowLeft") to = chosen === null ? last : before(chosen);
    else if (event.key === "Home" && chosen !== null) to = first;
    else if (event.key === "End" && chosen !== null) to = last;
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && chosen !== null)
      to = lineFrom(chosen, event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter" && chosen !== null) {
      event.preventDefault();
      return alternatives.querySelector("button")?.focus();
    } else if (/^[1-9]$/.test(event.key) && chosen !== null) return take(Number(event.key) - 1);
    if (to === null) return;
    event.preventDefault();
    choose(Math.max(first, Math.min(last, to)));
  }

  const unit = (offset) => whole().charCodeAt(offset + primed.length);
  const after = (offset) => offset + (unit(offset) >= 0xd800 && unit(offset) < 0xdc00 ? 2 : 1);
  const before = (offset) =>
    offset - (unit(offset - 1) >= 0xdc00 && unit(offset - 1) < 0xe000 ? 2 : 1);

  function lineFrom(offset, direction) {
    const box = boxOf(offset);
    const lineHeight = parseFloat(getComputedStyle(text).lineHeight);
    const y = (box.top + box.bottom) / 2 + direction * lineHeight;
    return offsetAt(box.left + 2, y) ?? (direction > 0 ? after(offset) : before(offset));
  }

  function left(event) {
    if (!alternatives.contains(event.relatedTarget)) choose(null);
  }

  /** What was selected as it was written: blocks would put line ends of their own in between. */
  function copied(event) {
    const range = getSelection().getRangeAt(0);
    const from = nodes.get(range.startContainer);
    const to = nodes.get(range.endContainer);
    if (from === undefined || to === undefined) return;
    const start = from + range.startOffset + primed.length;
    event.clipboardData.setData(
      "text/plain",
      whole().slice(start, to + range.endOffset + primed.length),
    );
    event.preventDefault();
  }

  return {
    root,
    text,
    state,
    write,
    stop,
    whole,
    describe: () => `${number(state.characters)} characters`,
  };
}
