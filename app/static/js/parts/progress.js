// The progress of a job, as GET /jobs/{id} returns both. Knows no element and no request.

const ENDED = new Set(["finished", "cancelled", "failed"]);
const CANCELLABLE = new Set(["queued", "running", "paused"]);

export const isEnded = (job) => ENDED.has(job.status);
export const isCancellable = (job) => CANCELLABLE.has(job.status);

/** The share of the steps that are done, 0 to 1. */
export const shareOf = (progress) =>
  progress?.max_steps ? Math.min(1, progress.step / progress.max_steps) : 0;

/** The best validation loss so far. */
export const bestOf = (progress) => progress?.best_val_loss ?? progress?.val_loss;
