// Numbers and words about a job. `job` is null until it is loaded; `progress` may be newer than the
// job's own. Knows no request.

import { t, woven } from "../../language.js";
import { comparison } from "../../parts/ngram.js";
import { bestOf, isEnded, shareOf } from "../../parts/progress.js";
import { reported, saying } from "../../reported.js";
import { duration, el, loss, number, percent, short } from "../../ui.js";

const STATUSES = {
  queued: t("queued"),
  running: t("running"),
  paused: t("paused"),
  cancelling: t("cancelling"),
  finished: t("finished"),
  cancelled: t("cancelled"),
  failed: t("failed"),
};

/** The status of a job as a badge says it. */
export const statusOf = (status) => STATUSES[status] ?? status;

/** The name of an n-gram baseline. */
export const levelOf = ({ ngram_order: order }) =>
  t("{order}-gram baseline", { order: order ?? "n" });

/** The value of the bar: 1 for a finished job, even if a limit ended it before its last step. */
export const barOf = (job, progress) =>
  job?.status === "finished" ? 1 : shareOf(progress, job?.options);

/** The page's title: the model and, while it is trained, the progress. */
export function titleOf(job, progress) {
  if (!job) return t("Train");
  const isRunning = !isEnded(job) && progress?.max_steps;
  return isRunning ? `${percent(barOf(job, progress))} ${job.model}` : job.model || job.id;
}

/** English that names the page's button where the service names an endpoint. */
export const withButton = (detail) =>
  detail.replace(/resume it with POST \/jobs\/\w+\/resume/, "press Resume");

/** Why a job failed, as an element. */
export function errorOf({ title, detail }) {
  const words = { title: saying(title, String), detail: saying(detail, withButton) };
  return el("span", {}, ...woven("{title}. {detail}", words));
}

/** What is damaged of a job, as an element. */
export const damageOf = (damaged) =>
  el("span", {}, ...woven("Damaged: {damage}.", { damage: saying(damaged.join("; "), String) }));

/** What a job without a plan is doing. */
export function waitingFor({ status }) {
  if (status === "queued") return t("Waiting for a worker. Each worker trains one job at a time.");
  return status === "running" ? t("Preparing the text and measuring this machine's speed.") : "";
}

/** What the page says while there are no samples. */
export function sampleHint(job) {
  if (!job) return t("None yet.");
  if (isEnded(job)) return t("It ended before its first sample.");
  const { sample_at: steps, sample_every: every } = job.options;
  return steps?.length === 0 && !every
    ? t("This job draws none.")
    : t("The first one comes before the first step.");
}

/** The figures of a job: name, value and remark. */
export function figuresOf(job, progress) {
  const best = bestOf(progress);
  const baseline = job?.baseline?.val_loss;
  return [
    [
      t("Validation loss"),
      loss(best),
      best ? t("{bits} bpc", { bits: loss(best / Math.LN2) }) : "",
    ],
    [t("n-gram baseline"), loss(baseline), comparison(best, baseline)],
    [t("Training loss"), loss(progress?.train_loss), ""],
    [
      t("Step"),
      number(progress?.step),
      progress?.max_steps ? t("of {n}", { n: number(progress.max_steps) }) : "",
    ],
    [
      t("Characters per second"),
      short(progress?.chars_per_second),
      job?.device ? reported(job.device) : "",
    ],
    job && isEnded(job) ? [t("Took"), duration(progress?.elapsed_seconds), ""] : timeLeft(progress),
  ];
}

function timeLeft(progress) {
  const elapsed = progress?.elapsed_seconds;
  const since = elapsed ? t("after {time}", { time: duration(elapsed) }) : "";
  return [t("Time left"), duration(progress?.eta_seconds), since];
}
