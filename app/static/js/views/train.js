// Train: a text, what the corpus doctor says of it, a name, and the jobs there are. One job has a
// page of its own (job.js).

import { list, post, upload } from "../api.js";
import { job as jobPage } from "./job.js";
import { options as allOptions } from "../parts/options.js";
import {
  bytes,
  clearErrors,
  count,
  duration,
  el,
  field,
  heading,
  loss,
  message,
  number,
  percent,
  showErrors,
  when,
} from "../ui.js";

const UNENDED = new Set(["queued", "running", "paused", "cancelling"]);
const POLL = 3000;

export function create({ go }) {
  const root = el("div", { class: "view" });
  const front = frontPage({ go });
  let page = null;

  return {
    root,
    show(address) {
      const [, id] = /^\/train\/([^/]+)$/.exec(address.pathname) ?? [];
      if (page?.id !== id || !page) {
        page?.hide();
        page = id ? { id, ...jobPage(decodeURIComponent(id), { go }) } : { id, ...front };
        root.replaceChildren(page.root);
      }
      page.show();
      return id ? page.title() : "Train";
    },
    hide() {
      page?.hide();
    },
  };
}

function frontPage({ go }) {
  let corpus = null;
  let sending = null;
  let key = null;

  // A text

  const file = el("input", {
    type: "file",
    class: "off",
    id: "corpus-file",
    on: { change: () => file.files[0] && take(file.files[0]) },
  });
  const pasted = el("textarea", {
    rows: "7",
    name: "text",
    "aria-label": "The text itself",
    spellcheck: "false",
    placeholder: "… or paste it here",
    on: {
      // Read at once when it is pasted, and when somebody who types is done.
      paste: () => setTimeout(() => takePasted()),
      change: () => takePasted(),
    },
  });
  const again = el("select", {
    "aria-label": "A text that is here already",
    on: { change: () => again.value && takeKnown(again.value) },
  });
  const againLine = el("p", { class: "again soft", hidden: true }, "or again the text of ", again);
  const report = el("section", {
    class: "report",
    "aria-live": "polite",
    "aria-label": "What the text is",
  });
  const meter = el("progress", { max: "1", value: 0, hidden: true, "aria-label": "Sending" });
  const drop = el(
    "div",
    { class: "drop" },
    report,
    meter,
    el(
      "div",
      { class: "drop-file" },
      el("p", { class: "big" }, "Drop a text file"),
      el(
        "p",
        { class: "soft" },
        "Plain text in any language or code: 100 kB is fun, 1 MB is good.",
      ),
      el(
        "div",
        { class: "actions" },
        file,
        el("label", { class: "button", for: "corpus-file" }, "Choose a file"),
      ),
    ),
    pasted,
    againLine,
  );

  // A name, a button, and the rest

  const name = el("input", {
    name: "model",
    required: true,
    pattern: "[a-z0-9][a-z0-9_\\-]{0,62}",
    title: "lower-case letters, digits, - and _",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const more = allOptions();
  const start = el("button", { class: "primary wide", disabled: true }, "Train");
  const said = message();
  const form = el(
    "form",
    { class: "train-form", on: { submit: submitted } },
    drop,
    field("Name of the model", name, { hint: "Lower-case letters, digits, - and _." }),
    start,
    said.place,
    more.root,
  );

  const jobs = el("ul", { class: "jobs" });
  const noJobs = el("p", { class: "soft" }, "None yet.");
  const root = el(
    "div",
    {},
    heading(
      "Train a network on a text",
      "It reads the text character by character, and guesses the next one until it guesses well. You can watch.",
    ),
    el(
      "div",
      { class: "train" },
      form,
      el(
        "section",
        { class: "job-list", "aria-labelledby": "jobs-title" },
        el("h2", { id: "jobs-title" }, "Jobs"),
        noJobs,
        jobs,
      ),
    ),
  );

  root.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  root.addEventListener(
    "dragleave",
    (event) => root.contains(event.relatedTarget) || drop.classList.remove("over"),
  );
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [dropped] = event.dataTransfer.files;
    if (dropped) take(dropped);
    else if (event.dataTransfer.getData("text")) {
      pasted.value = event.dataTransfer.getData("text");
      takePasted();
    }
  });

  function takePasted() {
    if (pasted.value.trim()) take(new File([pasted.value], "pasted.txt"));
  }

  /** Sends a text and shows what the server makes of it. */
  async function take(chosen) {
    sending?.abort();
    const mine = (sending = new AbortController());
    begin(chosen.name, chosen.size);
    meter.hidden = false;
    meter.value = 0;
    try {
      const found = await upload("/corpora", chosen, {
        progress: (share) => (meter.value = share),
        signal: mine.signal,
      });
      if (mine === sending) examined(found, chosen.name);
    } catch (error) {
      if (mine === sending && error.name !== "AbortError") refused(error);
    } finally {
      if (mine === sending) meter.hidden = true;
      file.value = "";
    }
  }

  function takeKnown(id) {
    sending?.abort();
    sending = null;
    const [known] = texts.filter((text) => text.id === id);
    begin(known.name, known.bytes);
    examined(known, known.name);
  }

  /** As if nobody had given a text yet. */
  function afresh() {
    corpus = key = null;
    start.disabled = true;
    pasted.value = again.value = "";
    if (name.dataset.guessed) name.value = "";
    report.replaceChildren();
    drop.classList.remove("full");
  }

  function begin(title, size) {
    corpus = key = null;
    start.disabled = true;
    said.clear();
    report.replaceChildren(el("p", { class: "soft" }, `Reading ${title}, ${bytes(size)} …`));
  }

  function examined(found, filename) {
    corpus = found.id;
    const asBytes = found.encoding === "bytes";
    // The doctor's way on, where a text is not UTF-8.
    more.set("tokens", asBytes ? "bytes" : "");
    start.disabled = false;
    if (!name.value || name.dataset.guessed) {
      name.value = slug(filename);
      name.dataset.guessed = "yes";
    }
    const another = el(
      "button",
      {
        type: "button",
        class: "quiet",
        on: {
          click: () => {
            afresh();
            file.focus();
          },
        },
      },
      "Another text",
    );
    report.replaceChildren(
      ...describe(found, filename, another, (preset) => more.set("preset", preset)),
    );
    drop.classList.add("full");
  }

  function refused(error) {
    report.replaceChildren();
    said.say(error.message, "problem");
  }

  name.addEventListener("input", () => delete name.dataset.guessed);

  async function submitted(event) {
    event.preventDefault();
    clearErrors(form);
    said.clear();
    if (!corpus) return;
    start.disabled = true;
    // Sent again after a failure it is the same job: nobody trains twice for a bad line.
    key ??= [...crypto.getRandomValues(new Uint8Array(12))]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join("");
    try {
      const made = await post(
        "/train",
        { model: name.value, corpus_id: corpus, ...more.values() },
        { headers: { "Idempotency-Key": key } },
      );
      afresh();
      go(`/train/${made.id}`);
    } catch (error) {
      if (error.status) key = null;
      await more.load();
      if (!showErrors(form, error)) {
        const [other] = /\b[0-9a-f]{22}\b/.exec(error.message) ?? [];
        said.say(
          error.message,
          "problem",
          ...(other ? [" ", el("a", { href: `/train/${other}` }, "Look at it.")] : []),
        );
      }
    } finally {
      start.disabled = !corpus;
    }
  }

  // The jobs there are

  let timer = 0;
  let isShown = false;
  let texts = [];

  async function refresh() {
    clearTimeout(timer);
    try {
      const found = await list("/jobs", "jobs", 100);
      noJobs.hidden = found.length > 0;
      jobs.replaceChildren(...found.map(row));
      if (!texts.length && found.length) offerTexts(found);
      if (isShown && found.some(({ status }) => UNENDED.has(status)))
        timer = setTimeout(refresh, POLL);
    } catch (error) {
      noJobs.hidden = false;
      noJobs.textContent = error.message;
      if (isShown) timer = setTimeout(refresh, 2 * POLL);
    }
  }

  async function offerTexts(found) {
    const names = new Map(found.map((job) => [job.corpus_id, job.model]));
    const corpora = await list("/corpora", "corpora").catch(() => []);
    texts = corpora
      .filter(({ id }) => names.has(id))
      .map((one) => ({ ...one, name: names.get(one.id) }));
    again.replaceChildren(
      new Option("…", ""),
      ...texts.map((text) => new Option(`${text.name}, ${bytes(text.bytes)}`, text.id)),
    );
    againLine.hidden = !texts.length;
  }

  return {
    root,
    show() {
      isShown = true;
      refresh();
    },
    hide() {
      isShown = false;
      clearTimeout(timer);
    },
  };
}

function row(job) {
  const { progress } = job;
  const share = progress?.max_steps ? Math.min(1, progress.step / progress.max_steps) : 0;
  const best = progress?.best_val_loss ?? progress?.val_loss;
  return el(
    "li",
    {},
    el(
      "a",
      { class: "job", href: `/train/${job.id}` },
      el("strong", {}, job.model),
      statusWord(job.status),
      el("span", { class: "soft" }, best ? `loss ${loss(best)}` : ""),
      el(
        "span",
        { class: "soft" },
        UNENDED.has(job.status) && progress?.eta_seconds
          ? `${duration(progress.eta_seconds)} left`
          : when(job.created_at),
      ),
      UNENDED.has(job.status)
        ? el("progress", { max: "1", value: share, "aria-label": "Progress" })
        : null,
    ),
  );
}

export const statusWord = (status) => el("span", { class: `status ${status}` }, status);

/** The corpus doctor's report, in words. */
function describe(report, filename, another, usePreset) {
  const isRead = report.characters !== null;
  const figures = [
    [number(report.characters), report.encoding === "bytes" ? "bytes" : "characters"],
    [number(report.distinct), "distinct"],
    [number(report.lines), "lines"],
  ];
  const ends = {
    crlf: "Windows line ends",
    cr: "old Macintosh line ends",
    mixed: "mixed line ends",
    none: "no line ends",
  };
  const facts = [
    { ascii: "Plain ASCII", "utf-8": "UTF-8", bytes: "Read as bytes" }[report.encoding],
    // What was made of them stands among what was normalised.
    !report.normalised.length && ends[report.line_ends],
    ...report.normalised,
    report.duplicate_line_share > 0.005 &&
      !report.warnings.some((text) => /\blines\b/.test(text)) &&
      `${percent(report.duplicate_line_share)} of the lines come more than once`,
    report.estimated_seconds && `takes about ${duration(report.estimated_seconds)} here`,
  ].filter(Boolean);
  return [
    el(
      "div",
      { class: "report-name" },
      el("p", {}, el("strong", {}, filename), ` ${bytes(report.bytes)}`),
      another,
    ),
    isRead
      ? el(
          "dl",
          { class: "figures" },
          ...figures.map(([value, label]) =>
            el("div", {}, el("dd", {}, value), el("dt", {}, label)),
          ),
        )
      : null,
    facts.length ? el("p", { class: "soft" }, `${facts.join("; ")}.`) : null,
    report.rare?.length
      ? el(
          "p",
          { class: "soft" },
          "Rare: ",
          ...report.rare
            .slice(0, 24)
            .flatMap(({ char, count: times }) => [
              el("code", { class: "rare", title: count(times, "time") }, char),
              " ",
            ]),
        )
      : null,
    report.preset && report.preset !== "auto"
      ? el(
          "p",
          {},
          `It looks like a text for the preset ${report.preset}. `,
          el(
            "button",
            {
              type: "button",
              class: "quiet",
              on: {
                click: (event) => {
                  usePreset(report.preset);
                  event.target.textContent = "Used";
                },
              },
            },
            "Use it",
          ),
        )
      : null,
    ...report.warnings.map((warning) => el("p", { class: "warning" }, capital(warning))),
  ].filter(Boolean);
}

const capital = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?)]$/.test(text) ? "" : ".");

function slug(filename) {
  const stem = filename
    .replace(/\.[^.]*$/, "")
    .normalize("NFKD")
    .toLowerCase();
  return (
    stem
      .replace(/[^a-z0-9_-]+/g, "-")
      .replace(/^[-_]+|[-_]+$/g, "")
      .slice(0, 63) || "model"
  );
}
