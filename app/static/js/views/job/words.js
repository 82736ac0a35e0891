// Numbers and words about a job. `job` is null until it is loaded; `progress` may be newer than the
// job's own. Knows no element and no request.

import { comparison } from "../../parts/ngram.js";
import { bestOf, isEnded, shareOf } from "../../parts/progress.js";
import { duration, loss, number, percent, short } from "../../ui.js";

/** The value of the bar: 1 for a finished job, even if a limit ended it before its last step. */
export const barOf = (job, progress) =>
  job?.status === "finished" ? 1 : shareOf(progress, job?.options);

/** The page's title: the model and, while it is trained, the progress. */
export function titleOf(job, progress) {
  if (!job) return "Train";
  const isRunning = !isEnded(job) && progress?.max_steps;
  return isRunning ? `${percent(barOf(job, progress))} ${job.model}` : job.model || job.id;
}

/** Why a job failed; the page has a button where the service names an endpoint. */
export const errorText = ({ title, detail }) =>
  `${title}. ${detail}`.replace(/resume it with POST \/jobs\/\w+\/resume/, "press Resume");

/** What a job without a plan is doing. */
export function waitingFor({ status }) {
  if (status === "queued") return "Waiting for a worker. Each worker trains one job at a time.";
  return status === "running" ? "Preparing the text and measuring this machine's speed." : "";
}

/** What the page says while there are no samples. */
export function sampleHint(job) {
  if (!job) return "None yet.";
  if (isEnded(job)) return "It ended before its first sample.";
  const { sample_at: steps, sample_every: every } = job.options;
  return steps?.length === 0 && !every
    ? "This job draws none."
    : "The first one comes before the first step.";
}

/** The figures of a job: name, value and remark. */
export function figuresOf(job, progress) {
  const best = bestOf(progress);
  const baseline = job?.baseline?.val_loss;
  return [
    ["Validation loss", loss(best), best ? `${loss(best / Math.LN2)} bpc` : ""],
    ["n-gram baseline", loss(baseline), comparison(best, baseline)],
    ["Training loss", loss(progress?.train_loss), ""],
    ["Step", number(progress?.step), progress?.max_steps ? `of ${number(progress.max_steps)}` : ""],
    ["Characters per second", short(progress?.chars_per_second), job?.device ?? ""],
    job && isEnded(job) ? ["Took", duration(progress?.elapsed_seconds), ""] : timeLeft(progress),
  ];
}

function timeLeft(progress) {
  const elapsed = progress?.elapsed_seconds;
  const since = elapsed ? `after ${duration(elapsed)}` : "";
  return ["Time left", duration(progress?.eta_seconds), since];
}
