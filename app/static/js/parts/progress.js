// The progress of a job, as GET /jobs/{id} returns both. Knows no element and no request.

const ENDED = new Set(["finished", "cancelled", "failed"]);
const CANCELLABLE = new Set(["queued", "running", "paused"]);

export const isEnded = (job) => ENDED.has(job.status);
export const isCancellable = (job) => CANCELLABLE.has(job.status);

/** The share of a job that is done, 0 to 1: of its steps or of its time, whichever ends it first. */
export function shareOf(progress, { max_seconds = null } = {}) {
  if (!progress) return 0;
  const { step, max_steps, elapsed_seconds } = progress;
  const steps = max_steps ? step / max_steps : 0;
  const time = max_seconds && elapsed_seconds ? elapsed_seconds / max_seconds : 0;
  return Math.min(1, Math.max(steps, time));
}

/** The best validation loss so far. */
export const bestOf = (progress) => progress?.best_val_loss ?? progress?.val_loss;
