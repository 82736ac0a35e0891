// What a job's events have reported so far. The pages of jobs are drawn from it, so they look the
// same when they are opened late or again. Knows no element and no request.

import { lastAtOrBefore } from "../../parts/search.js";

export class Record {
  /** Losses by step. */
  training = new Map();
  validation = new Map();
  /** Whole events by step. */
  samples = new Map();
  progress = null;
  isPublished = false;
  /** The id of the last event, from which a follower resumes. */
  lastId = null;
  /** Seconds of training by step. */
  #seconds = new Map();

  /**
   * Adds an event from the server: `{event, id, data}`, `data` a string.
   *
   * Returns its parsed data, and whether the events begin again because the server no longer knew
   * the last id; all before is forgotten then.
   */
  add({ event, id, data: json }) {
    const isRestart = this.lastId !== null && Number(id) <= this.lastId;
    if (isRestart) this.#forget();
    this.lastId = Number(id);
    const data = JSON.parse(json);
    if (event === "progress") {
      put(this.training, data.step, data.train_loss);
      put(this.#seconds, data.step, data.elapsed_seconds);
      this.progress = data;
    } else if (event === "evaluation") {
      put(this.validation, data.step, data.val_loss);
    } else if (event === "sample") {
      put(this.samples, data.step, data);
    } else if (event === "checkpoint") {
      this.isPublished = true;
    }
    return { data, isRestart };
  }

  /** Losses by step as losses over seconds of training. */
  inSeconds(points) {
    const known = [[0, 0], ...this.#seconds].filter(([, seconds]) => Number.isFinite(seconds));
    return points.map(([step, value]) => [secondsAt(known, step), value]);
  }

  #forget() {
    for (const points of [this.training, this.validation, this.samples, this.#seconds])
      points.clear();
  }
}

/** The time of a step, between the known ones in a straight line; [step, seconds] are sorted. */
function secondsAt(known, step) {
  const at = lastAtOrBefore(known, step, ([place]) => place);
  const [before, after] = [known[at], known[at + 1]];
  if (!after) return before[1];
  return before[1] + ((step - before[0]) / (after[0] - before[0])) * (after[1] - before[1]);
}

/** Adds a point; steps repeated after a crash replace those from the first attempt. */
function put(points, step, value) {
  for (const old of [...points.keys()].reverse()) {
    if (old < step) break;
    points.delete(old);
  }
  points.set(step, value);
}
