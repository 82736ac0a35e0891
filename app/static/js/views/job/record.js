// What a job's events told so far. Everything on its page is made of them, so that a page opened
// late, or again, shows the same. Knows no element and no request.

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

  /**
   * Adds an event as it comes from the server: `{event, id, data}`, `data` a string.
   *
   * Returns what it told, and whether everything before it is void: the server did not know where
   * we were, and tells all from the beginning.
   */
  add({ event, id, data: json }) {
    const isRestart = this.lastId !== null && Number(id) <= this.lastId;
    if (isRestart) this.#forget();
    this.lastId = Number(id);
    const data = JSON.parse(json);
    if (event === "progress") {
      put(this.training, data.step, data.train_loss);
      this.progress = data;
    } else if (event === "evaluation") {
      put(this.validation, data.step, data.val_loss);
    } else if (event === "sample") {
      this.samples.set(data.step, data);
    } else if (event === "checkpoint") {
      this.isPublished = true;
    }
    return { data, isRestart };
  }

  #forget() {
    for (const points of [this.training, this.validation, this.samples]) points.clear();
  }
}

/** After a crash steps come again: what stood from there on is not what happened. */
function put(points, step, value) {
  for (const old of [...points.keys()].reverse()) {
    if (old < step) break;
    points.delete(old);
  }
  points.set(step, value);
}
