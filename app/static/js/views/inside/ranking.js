// The list of what cells track, with the best cells for each as buttons. Knows no server.

import { t, together } from "../../language.js";
import { el, foldedOnPhones, hundredths, message, percent } from "../../ui.js";

const MEASURES = { auc: "AUC", correlation: t("correlation") };

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
      "details",
      { class: "found more" },
      el("summary", {}, t("Cells that track something")),
      el("h2", {}, t("Cells that track something")),
      this.said.place,
      this.#list,
      this.#share,
    );
    foldedOnPhones(this.root);
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
    const measure = el("span", { class: "soft" }, ` ${MEASURES[hypothesis.metric]}`);
    return el(
      "li",
      {},
      el("p", {}, hypothesis.title, measure),
      el("div", { class: "chips" }, chips),
    );
  }

  #chip(hypothesis, candidate) {
    const { layer, cell, strength, sign } = candidate;
    const score = hundredths(candidate.score);
    const { title, metric } = hypothesis;
    const values = { title, layer, cell, measure: MEASURES[metric], score };
    const button = el(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": "false",
        data: { cell: `${layer}:${cell}` },
        "aria-label":
          sign < 0
            ? t("{title}: layer {layer}, cell {cell}, {measure} {score}, inverted", values)
            : t("{title}: layer {layer}, cell {cell}, {measure} {score}", values),
        on: { click: () => this.#picked({ layer, cell }, hypothesis) },
      },
      el("span", {}, `${layer}·${cell}${sign < 0 ? " ↓" : ""}`),
      el("span", { class: "score" }, score),
    );
    button.style.setProperty("--share", strength);
    return button;
  }
}

function summary({ hypotheses, share }) {
  if (!hypotheses.length)
    return t(
      "This model came without unseen text, or nothing was found in it. Browse the cells above.",
    );
  const what = t(
    "AUC: how well the cell's value tells yes from no, 0.5 by chance and 1 without a mistake. Correlation: how well it follows a number. ↓ is an inverted cell, quiet where the thing holds and excited elsewhere.",
  );
  const those = share && t("{share} of all cells track something.", { share: percent(share) });
  return together(what, those);
}
