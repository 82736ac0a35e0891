// The list of what cells track, with the best cells for each as buttons. Knows no server.

import { el, hundredths, message, percent } from "../../ui.js";

export class Ranking {
  /** Progress and errors of the search. */
  said = message();
  #share = el("p", { class: "hint" });
  #list = el("ol", { class: "hypotheses" });
  #picked;

  /** `picked` is called with the cell and the hypothesis whose button was clicked. */
  constructor(picked) {
    this.#picked = picked;
    this.root = el(
      "section",
      { "aria-labelledby": "found-title" },
      el("h2", { id: "found-title" }, "Cells that track something"),
      this.#share,
      this.said.place,
      this.#list,
    );
  }

  clear() {
    this.#share.textContent = "";
    this.#list.replaceChildren();
  }

  show(findings) {
    this.#share.textContent = summary(findings);
    this.#list.replaceChildren(
      ...findings.hypotheses.map((one) => this.#item(one, findings.offered(one))),
    );
  }

  /** Marks the buttons of the cell that is shown. */
  mark({ layer, cell }) {
    for (const button of this.#list.querySelectorAll(".chip"))
      button.setAttribute("aria-pressed", String(button.dataset.cell === `${layer}:${cell}`));
  }

  #item(hypothesis, cells) {
    const chips = cells.map((cell) => this.#chip(hypothesis, cell));
    return el("li", {}, el("p", {}, hypothesis.title), el("div", { class: "chips" }, ...chips));
  }

  #chip(hypothesis, candidate) {
    const { layer, cell, strength } = candidate;
    const score = hundredths(candidate.score);
    const button = el(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": "false",
        data: { cell: `${layer}:${cell}` },
        "aria-label": `${hypothesis.title}: layer ${layer}, cell ${cell}, score ${score}`,
        on: { click: () => this.#picked({ layer, cell }, hypothesis) },
      },
      el("span", {}, `${layer}·${cell}`),
      el("span", { class: "score" }, score),
    );
    button.style.setProperty("--share", strength);
    return button;
  }
}

function summary({ hypotheses, share }) {
  if (!hypotheses.length)
    return "This model came without unseen text, or nothing was found in it. Browse the cells above.";
  return share
    ? `${percent(share)} of all cells do. The score says how well: 1 is always right.`
    : "";
}
