// Follows the events of jobs, over lost connections, on few connections. Knows no element.

import { events, Problem, pause, request, wasAborted } from "../../api.js";
import { isEnded } from "../../parts/progress.js";

/** Milliseconds without a byte after which to reconnect; the server sends one every 15 s. */
const SILENCE = 40_000;
const FIRST_DELAY = 500;
const LONGEST_DELAY = 8000;
/** Milliseconds that a connection is kept while others wait for it. */
const TURN = 2000;

/** A browser opens six connections to a server, for all of its tabs: those who follow share some. */
export class Connections {
  #free;
  #waiting = [];

  constructor(most) {
    this.#free = most;
  }

  get isWanted() {
    return this.#waiting.length > 0;
  }

  /** Does something with a connection, once there is one. */
  async use(act) {
    if (this.#free) this.#free -= 1;
    else await new Promise((resolve) => this.#waiting.push(resolve));
    try {
      return await act();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}

/**
 * Follows a job's events until its end, or until `signal` aborts.
 *
 * @param {string} path of the job
 * @param {AbortSignal} signal
 * @param {object} told
 * @param {() => Promise<object>} told.refresh loads the job; called before each connection
 * @param {() => number | null} told.lastId the last event that is known
 * @param {(event: object) => void} told.happened
 * @param {() => void} told.connected
 * @param {() => void} told.away when the server does not answer; it is asked again
 * @param {(error: Error) => void} told.refused when it is not asked again
 * @param {Connections} connections
 */
export async function follow(path, signal, told, connections = new Connections(1)) {
  let delay = FIRST_DELAY;
  while (!signal.aborted) {
    try {
      const job = await told.refresh();
      const isOver = await connections.use(() =>
        read(path, signal, job, connections, {
          ...told,
          connected: () => {
            delay = FIRST_DELAY;
            told.connected();
          },
        }),
      );
      if (isOver) return;
    } catch (error) {
      if (wasAborted(error) || signal.aborted) return;
      if (isRefusal(error)) {
        told.refused(error);
        return;
      }
      told.away();
    }
    await pause(delay, signal).catch(() => {});
    delay = Math.min(LONGEST_DELAY, delay * 1.7);
  }
}

/** Reads events until the connection ends; true if there will be no more. */
async function read(path, signal, job, connections, { lastId, connected, happened }) {
  if (signal.aborted) return true;
  const last = lastId();
  const headers = {
    Accept: "text/event-stream",
    ...(last !== null && { "Last-Event-ID": String(last) }),
  };
  const response = await request(`${path}/events`, { headers, signal });
  connected();
  const began = Date.now();
  // A job that waits says nothing, and would keep the connection from others.
  const silence = connections.isWanted ? TURN : SILENCE;
  for await (const event of events(response, { silence })) {
    if (signal.aborted) return true;
    happened(event);
    if (event.event === "end") return true;
    if (connections.isWanted && Date.now() - began > TURN) return false;
  }
  return isEnded(job);
}

/** Whether the server answered, and would answer the same again. */
const isRefusal = (error) => error instanceof Problem && error.status >= 400 && error.status < 500;
