// One training run, as it happens: losses, samples, and how long it will take. Everything shown is
// made of the job's events, so that a page opened late, or again, shows the same.

import { Problem, events, get, pause, post, remove, request, wasAborted } from "../api.js";
import { chart } from "../parts/chart.js";
import { ask, duration, el, field, loss, message, number, percent, short } from "../ui.js";

const ENDED = new Set(["finished", "cancelled", "failed"]);
/** The server sends a sign of life each 15 s. */
const SILENCE = 40_000;
const FIRST_DELAY = 500;
const LONGEST_DELAY = 8000;

export function job(id, { go }) {
  let known = null;
  let lastId = null;
  let following = null;
  let frame = 0;
  let isPublished = false;
  let isPlanned = false;
  const train = new Map();
  const validation = new Map();
  const samples = new Map();
  let progress = null;

  const title = el("h1", {}, "…");
  const status = el("span", { class: "status" });
  const plan = el("p", { class: "lead" });
  const said = message();
  const trouble = message();
  const notices = el("div", { class: "notices" });
  const bar = el("progress", { max: "1", value: 0, "aria-label": "Progress" });
  const losses = chart({ label: "Loss over steps" });
  const figures = el("dl", { class: "figures wide" });
  const write = el("a", { class: "button primary", hidden: true }, "Let it write");
  const cancel = el(
    "button",
    { type: "button", class: "danger", hidden: true, on: { click: cancelled } },
    "Cancel",
  );
  const resume = el("button", { type: "button", hidden: true, on: { click: resumed } }, "Resume");
  const drop = el(
    "button",
    { type: "button", class: "quiet", hidden: true, on: { click: removed } },
    "Remove",
  );
  const texts = el("ol", { class: "samples" });
  const noTexts = el("p", { class: "soft" });
  const chartTitle = el("h2", {}, "Loss");
  const root = el(
    "div",
    { class: "job-page" },
    el("p", {}, el("a", { href: "/train" }, "All jobs")),
    el("div", { class: "view-head" }, el("div", { class: "title-line" }, title, status), plan),
    trouble.place,
    said.place,
    bar,
    figures,
    el("div", { class: "actions" }, write, cancel, resume, drop),
    notices,
    el(
      "div",
      { class: "job-body" },
      el(
        "section",
        { class: "card" },
        chartTitle,
        el("p", { class: "hint" }, "Nats per character: the lower, the better it guesses."),
        losses.root,
      ),
      el(
        "section",
        { class: "written", "aria-labelledby": "samples-title" },
        el("h2", { id: "samples-title" }, "What it writes meanwhile"),
        noTexts,
        texts,
      ),
    ),
  );

  // What happened

  function happened({ event, data: text, id: number_ }) {
    const eventId = Number(number_);
    // The server did not know where we were, and tells all from the beginning.
    if (lastId !== null && eventId <= lastId) forget();
    lastId = eventId;
    const data = JSON.parse(text);
    if (event === "progress") {
      rewind(train, data.step);
      train.set(data.step, data.train_loss);
      progress = data;
      if (known && known.status === "queued") refresh();
    } else if (event === "evaluation") {
      rewind(validation, data.step);
      validation.set(data.step, data.val_loss);
      if (!known?.baseline) refresh();
    } else if (event === "sample") {
      samples.set(data.step, data);
      showSample(data);
    } else if (event === "checkpoint") {
      isPublished = true;
    } else if (event === "notice") {
      if (data.code === "plan") {
        isPlanned = true;
        plan.textContent = capital(data.text);
      } else notices.append(el("p", { class: "message note" }, capital(data.text)));
    } else if (event === "end") {
      refresh();
    }
    frame ||= requestAnimationFrame(draw);
  }

  /** After a crash steps come again: what stood there is not what happened. */
  function rewind(points, step) {
    for (const old of [...points.keys()].reverse()) {
      if (old < step) break;
      points.delete(old);
    }
  }

  function forget() {
    for (const points of [train, validation, samples]) points.clear();
    texts.replaceChildren();
    notices.replaceChildren();
  }

  function showSample({ step, temperature, text }) {
    const item = el(
      "li",
      { data: { step } },
      el(
        "h3",
        {},
        `Step ${number(step)}`,
        temperature === 1 ? null : el("span", { class: "soft" }, ` temperature ${temperature}`),
      ),
      el("p", { class: "sample" }, text),
    );
    const old = texts.querySelector(`[data-step="${step}"]`);
    if (old) old.replaceWith(item);
    else
      texts.insertBefore(
        item,
        [...texts.children].find((other) => Number(other.dataset.step) > step) ?? null,
      );
  }

  // What is shown

  function draw() {
    frame = 0;
    const baseline = known?.baseline;
    const isOver = known && ENDED.has(known.status);
    losses.update(
      [
        {
          name: "training",
          className: "train-line",
          points: [...train].filter(([, value]) => value !== null),
        },
        { name: "validation", className: "val-line", points: [...validation], dots: true },
      ],
      baseline?.val_loss
        ? [{ name: `${baseline.ngram_order ?? "n"}-gram baseline`, value: baseline.val_loss }]
        : [],
    );
    noTexts.hidden = samples.size > 0;
    noTexts.textContent = isOver ? "It ended before its first sample." : firstSample();
    const p = progress ?? known?.progress;
    const share =
      isOver && known.status === "finished"
        ? 1
        : p?.max_steps
          ? Math.min(1, p.step / p.max_steps)
          : 0;
    bar.value = share;
    bar.hidden = isOver;
    const best = p?.best_val_loss ?? p?.val_loss;
    const against =
      best && baseline?.val_loss
        ? `network ${percent(Math.abs(1 - best / baseline.val_loss))} ${best < baseline.val_loss ? "below" : "above"}`
        : "";
    const rows = [
      ["Validation loss", loss(best), best ? `${loss(best / Math.LN2)} bpc` : ""],
      ["Counting alone", loss(baseline?.val_loss), against],
      ["Training loss", loss(p?.train_loss), ""],
      ["Step", number(p?.step), p?.max_steps ? `of ${number(p.max_steps)}` : ""],
      ["Characters a second", short(p?.chars_per_second), known?.device ?? ""],
      isOver
        ? ["Took", duration(p?.elapsed_seconds), ""]
        : [
            "Time left",
            duration(p?.eta_seconds),
            p?.elapsed_seconds ? `after ${duration(p.elapsed_seconds)}` : "",
          ],
    ];
    if (!figures.children.length)
      figures.append(
        ...rows.map(() => el("div", {}, el("dt"), el("dd"), el("dd", { class: "soft" }))),
      );
    rows.forEach((texts_, i) =>
      [...figures.children[i].children].forEach((place, j) => {
        if (place.textContent !== texts_[j]) place.textContent = texts_[j];
      }),
    );
    if (!known) return;
    title.textContent = known.model;
    if (!isPlanned) plan.textContent = waiting();
    status.className = `status ${known.status}`;
    status.textContent = known.status;
    write.hidden = !isPublished;
    write.href = `/#${new URLSearchParams({ model: known.model })}`;
    cancel.hidden = !["queued", "running", "paused"].includes(known.status);
    resume.hidden = !isOver;
    drop.hidden = !isOver;
    if (root.isConnected) document.title = `${pageTitle()} · charloom`;
  }

  /** What is going on before there is a plan. */
  function waiting() {
    if (known.status === "queued")
      return "It waits for a worker: one job is trained at a time by each.";
    return known.status === "running"
      ? "The text is prepared, and this machine's speed measured."
      : "";
  }

  function firstSample() {
    const at = known?.options.sample_at ?? [];
    return at.length ? `The first one comes at step ${number(Math.min(...at))}.` : "None yet.";
  }

  function pageTitle() {
    if (!known) return "Train";
    const p = progress ?? known.progress;
    const isRunning = !ENDED.has(known.status) && p?.max_steps;
    return isRunning ? `${percent(p.step / p.max_steps)} ${known.model}` : known.model;
  }

  async function refresh() {
    known = await get(`/jobs/${encodeURIComponent(id)}`);
    if (known.error)
      said.say(
        `${known.error.title}. ${known.error.detail}`,
        known.status === "failed" ? "problem" : "note",
      );
    else said.clear();
    frame ||= requestAnimationFrame(draw);
  }

  // Following it

  async function follow() {
    following?.abort();
    const { signal } = (following = new AbortController());
    let delay = FIRST_DELAY;
    while (!signal.aborted) {
      try {
        await refresh();
        const headers = {
          Accept: "text/event-stream",
          ...(lastId !== null && { "Last-Event-ID": String(lastId) }),
        };
        const response = await request(`/jobs/${encodeURIComponent(id)}/events`, {
          headers,
          signal,
        });
        trouble.clear();
        delay = FIRST_DELAY;
        for await (const event of events(response, { silence: SILENCE })) {
          if (signal.aborted) return;
          happened(event);
          if (event.event === "end") return;
        }
        if (ENDED.has(known.status)) return;
      } catch (error) {
        if (wasAborted(error) || signal.aborted) return;
        if (error instanceof Problem && error.status >= 400 && error.status < 500) {
          title.textContent =
            error.status === 404 || error.status === 422 ? "There is no such job" : "Job";
          return trouble.say(
            error.message,
            "problem",
            error.status === 404
              ? " Its record was removed, or its model came from elsewhere."
              : "",
          );
        }
        trouble.say(
          "The server is away. The job is safe; this page goes on as soon as it is back.",
          "note",
        );
      }
      await pause(delay, signal).catch(() => {});
      delay = Math.min(LONGEST_DELAY, delay * 1.7);
    }
  }

  // Doing something about it

  async function act(doing) {
    said.clear();
    try {
      await doing();
    } catch (error) {
      said.say(error.message, "problem");
    }
  }

  function cancelled() {
    act(async () => {
      known = await post(`/jobs/${id}/cancel`, {});
      draw();
    });
  }

  function resumed() {
    act(async () => {
      const limits = {
        max_seconds: "Seconds at most, all in all",
        max_epochs: "Epochs at most",
        max_steps: "Steps at most",
      };
      const given = await ask({
        title: "Go on from where it stopped",
        text:
          known.status === "finished"
            ? "It has done what it was to do. Raise a limit to have it go on."
            : "A limit may be raised; what is left empty stays.",
        fields: Object.entries(limits).map(([name, label]) =>
          field(
            label,
            el("input", {
              name,
              type: "number",
              min: "1",
              step: "any",
              placeholder: known.options[name] ?? "",
            }),
          ),
        ),
        confirm: "Resume",
      });
      if (!given) return;
      const raised = Object.fromEntries(
        Object.entries(given)
          .filter(([, value]) => value)
          .map(([name, value]) => [name, Number(value)]),
      );
      known = await post(`/jobs/${id}/resume`, raised);
      follow();
    });
  }

  function removed() {
    act(async () => {
      const sure = await ask({
        title: `Remove this job of ${known.model}?`,
        text: "Its record and what a resume would need are gone then. The model stays.",
        confirm: "Remove",
        danger: true,
      });
      if (!sure) return;
      await remove(`/jobs/${id}`);
      go("/train", { replace: true });
    });
  }

  return {
    root,
    title: pageTitle,
    show() {
      follow();
    },
    hide() {
      following?.abort();
    },
  };
}

const capital = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
