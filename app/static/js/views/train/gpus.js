// The GPUs that workers train on, beside the list of jobs: what `nvidia-smi` shows of them. Knows
// no job.

import { get } from "../../api.js";
import { t } from "../../language.js";
import { reported } from "../../reported.js";
import { bytes, drawn, el, number, percent, sentence } from "../../ui.js";

/** Milliseconds between two requests. */
const POLL = 5000;

export class Gpus {
  #troubles = el("div", { role: "status" });
  #list = el("ul", { class: "gpus" });
  root = el(
    "section",
    { class: "gpu-list", "aria-labelledby": "gpus-title", hidden: true },
    el("h2", { id: "gpus-title" }, t("GPUs")),
    this.#troubles,
    this.#list,
  );
  #timer = 0;
  #isShown = false;

  show() {
    this.#isShown = true;
    this.#refresh();
  }

  hide() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  async #refresh() {
    clearTimeout(this.#timer);
    let workers = [];
    try {
      workers = (await get("/workers")).workers ?? [];
    } catch {
      // The list of jobs says what is wrong.
    }
    const gpus = gpusOf(workers);
    const troubles = troublesOf(workers);
    this.root.hidden = gpus.length + troubles.length === 0;
    this.#troubles.replaceChildren(...troubles.map((text) => el("p", { class: "warning" }, text)));
    this.#list.replaceChildren(...drawn(gpus, row, plainRow));
    if (this.#isShown && !this.root.hidden) this.#timer = setTimeout(() => this.#refresh(), POLL);
  }
}

/** Each GPU once, also where several workers see it; `host` only where there are several hosts. */
export function gpusOf(workers) {
  const hosts = new Set(workers.map(({ host }) => host));
  const found = new Map();
  for (const { host, gpus } of workers)
    for (const gpu of gpus)
      found.set(`${host} ${gpu.number}`, { ...gpu, host: hosts.size > 1 ? host : "" });
  return [...found.values()];
}

/** Why workers take no job, in sentences. */
export const troublesOf = (workers) =>
  workers
    .filter(({ trouble }) => trouble)
    .map(({ host, trouble }) =>
      sentence(
        t("A worker on {host} waits for its GPU and takes no job: {trouble}", {
          host,
          trouble: reported(trouble),
        }),
      ),
    );

/** What is known of a GPU, in words. */
export const factsOf = (gpu) =>
  [
    t("{used} of {all} used", { used: bytes(gpu.memory_used_bytes), all: bytes(gpu.memory_bytes) }),
    gpu.utilisation === null ? null : t("{share} busy", { share: percent(gpu.utilisation) }),
    gpu.temperature_celsius === null ? null : `${number(gpu.temperature_celsius)} °C`,
    gpu.power_watts === null ? null : `${number(gpu.power_watts)} W`,
  ].filter(Boolean);

const row = (gpu) =>
  el(
    "li",
    {},
    el("strong", {}, `${gpu.number}: ${gpu.name}`),
    el("span", { class: "soft" }, [gpu.host, ...factsOf(gpu)].filter(Boolean).join(" · ")),
  );

/** The row of a GPU of which more cannot be shown. */
const plainRow = ({ name }) => el("li", {}, el("strong", {}, name));
