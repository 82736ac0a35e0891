// How far a job is. A job is as GET /jobs/{id} tells, and so is its progress. Knows no element and
// no request.

const ENDED = new Set(["finished", "cancelled", "failed"]);
const CANCELLABLE = new Set(["queued", "running", "paused"]);

export const isEnded = (job) => ENDED.has(job.status);
export const isCancellable = (job) => CANCELLABLE.has(job.status);

/** The share of its steps that it has made, 0 to 1. */
export const shareOf = (progress) =>
  progress?.max_steps ? Math.min(1, progress.step / progress.max_steps) : 0;

/** The best loss so far, on text that it does not learn from. */
export const bestOf = (progress) => progress?.best_val_loss ?? progress?.val_loss;
