// What a job's events have reported so far. The job's page is drawn from them, so it looks the same
// when it is opened late or again. Knows no element and no request.

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

/** Adds a point; steps repeated after a crash replace those from the first attempt. */
function put(points, step, value) {
  for (const old of [...points.keys()].reverse()) {
    if (old < step) break;
    points.delete(old);
  }
  points.set(step, value);
}
