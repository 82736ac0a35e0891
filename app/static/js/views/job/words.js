// A job in numbers and words. `job` is null until it is known; `progress` may be newer than the
// job's own. Knows no element and no request.

import { bestOf, isEnded, shareOf } from "../../parts/progress.js";
import { duration, loss, number, percent, short } from "../../ui.js";

/** What the bar shows: a job that ended well is done, however many steps it was allowed. */
export const barOf = (job, progress) => (job?.status === "finished" ? 1 : shareOf(progress));

/** What the title of the page says: the model, and how far it is while it is trained. */
export function titleOf(job, progress) {
  if (!job) return "Train";
  const isRunning = !isEnded(job) && progress?.max_steps;
  return isRunning ? `${percent(progress.step / progress.max_steps)} ${job.model}` : job.model;
}

/** What is going on before there is a plan. */
export function waitingFor({ status }) {
  if (status === "queued") return "It waits for a worker: one job is trained at a time by each.";
  return status === "running" ? "The text is prepared, and this machine's speed measured." : "";
}

/** What stands where the samples will. */
export function sampleHint(job) {
  if (job && isEnded(job)) return "It ended before its first sample.";
  const steps = job?.options.sample_at ?? [];
  return steps.length ? `The first one comes at step ${number(Math.min(...steps))}.` : "None yet.";
}

/** The figures of a job: a name, a value, and what is to be known about it. */
export function figuresOf(job, progress) {
  const best = bestOf(progress);
  const baseline = job?.baseline?.val_loss;
  return [
    ["Validation loss", loss(best), best ? `${loss(best / Math.LN2)} bpc` : ""],
    ["Counting alone", loss(baseline), comparison(best, baseline)],
    ["Training loss", loss(progress?.train_loss), ""],
    ["Step", number(progress?.step), progress?.max_steps ? `of ${number(progress.max_steps)}` : ""],
    ["Characters a second", short(progress?.chars_per_second), job?.device ?? ""],
    job && isEnded(job) ? ["Took", duration(progress?.elapsed_seconds), ""] : timeLeft(progress),
  ];
}

function comparison(best, baseline) {
  if (!best || !baseline) return "";
  const difference = percent(Math.abs(1 - best / baseline));
  return `network ${difference} ${best < baseline ? "below" : "above"}`;
}

function timeLeft(progress) {
  const elapsed = progress?.elapsed_seconds;
  const since = elapsed ? `after ${duration(elapsed)}` : "";
  return ["Time left", duration(progress?.eta_seconds), since];
}
