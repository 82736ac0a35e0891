// Models: what there is, how good it is, and the way in and out.

import { get, list, remove, request, upload } from "../api.js";
import { sparkline } from "../parts/chart.js";
import { ask, el, field, heading, loss, message, number, percent, short, when } from "../ui.js";

export function create() {
  const cards = el("ul", { class: "models" });
  const said = message();
  const empty = el(
    "p",
    { class: "soft", hidden: true },
    "There is none yet. ",
    el("a", { href: "/train" }, "Train one"),
    ", or bring one from another server.",
  );
  const file = el("input", {
    type: "file",
    accept: ".zip,application/zip",
    class: "off",
    id: "model-file",
    on: { change: () => file.files[0] && brought(file.files[0]) },
  });
  const bring = el(
    "div",
    { class: "actions" },
    file,
    el("label", { class: "button", for: "model-file" }, "Import a model"),
  );
  const root = el(
    "div",
    { class: "view" },
    heading(
      "Models",
      "What was learned here. A model is a directory of plain files: weights, letters, and how it came to be.",
    ),
    bring,
    said.place,
    empty,
    cards,
  );

  async function show() {
    const models = await list("/models", "models");
    empty.hidden = models.length > 0;
    cards.replaceChildren(...models.map(card));
  }

  function card(model) {
    const { config, baseline, corpus } = model;
    const line = el("div", { class: "history" });
    const address = `/models/${encodeURIComponent(model.model)}`;
    history(address, line);
    const above =
      baseline?.val_loss && model.val_loss ? baseline.val_loss / model.val_loss - 1 : null;
    return el(
      "li",
      { class: "card model" },
      el(
        "div",
        { class: "title-line" },
        el(
          "h2",
          {},
          model.name,
          model.tag === "latest" ? null : el("span", { class: "soft" }, `:${model.tag}`),
        ),
        model.pretrained ? el("span", { class: "soft" }, "came with charloom") : null,
      ),
      el(
        "dl",
        { class: "figures" },
        figure("bpc", loss(model.bpc), `${loss(model.val_loss)} nats`),
        baseline?.bpc
          ? figure(
              `${baseline.ngram_order ?? "n"}-gram`,
              loss(baseline.bpc),
              above === null ? "" : `${percent(Math.abs(above))} ${above > 0 ? "higher" : "lower"}`,
            )
          : null,
        figure(
          "parameters",
          short(model.parameters),
          `${config.num_layers}×${config.hidden_size} ${model.network.toUpperCase()}`,
        ),
      ),
      line,
      el(
        "p",
        { class: "soft small" },
        [
          `${number(model.vocabulary_size)} ${corpus?.tokens === "bytes" ? "bytes" : "characters"} known`,
          corpus?.characters && `${short(corpus.characters)} read`,
        ]
          .filter(Boolean)
          .join(", "),
        model.created_at ? ", " : null,
        model.created_at ? when(model.created_at) : null,
      ),
      el(
        "div",
        { class: "actions" },
        el(
          "a",
          { class: "button", href: `/#${new URLSearchParams({ model: model.model })}` },
          "Write",
        ),
        el(
          "a",
          { class: "button quiet", href: `/inside?model=${encodeURIComponent(model.model)}` },
          "Inside",
        ),
        model.job_id && !model.pretrained
          ? el("a", { class: "button quiet", href: `/train/${model.job_id}` }, "Job")
          : null,
        el(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `Download ${model.model}`,
            on: { click: (event) => act(() => taken(model, event.target)) },
          },
          "Download",
        ),
        el(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `Delete ${model.model}`,
            on: { click: () => act(() => deleted(model)) },
          },
          "Delete",
        ),
      ),
    );
  }

  const figure = (label, value, more) =>
    el("div", {}, el("dt", {}, label), el("dd", {}, value), el("dd", { class: "soft" }, more));

  async function history(address, place) {
    const { points } = await get(`${address}/history`).catch(() => ({ points: [] }));
    const losses = points
      .filter(({ train_loss: value }) => Number.isFinite(value))
      .map(({ step, train_loss: value }) => [step, value]);
    const best =
      losses.length > 2
        ? losses
        : points
            .filter(({ val_loss: value }) => Number.isFinite(value))
            .map(({ step, val_loss: value }) => [step, value]);
    if (best.length < 2) return;
    place.append(
      sparkline(
        best,
        `Loss over ${number(best.at(-1)[0])} steps, from ${loss(best[0][1])} to ${loss(best.at(-1)[1])}`,
      ),
    );
  }

  async function act(doing) {
    said.clear();
    try {
      await doing();
    } catch (error) {
      said.say(error.message, "problem");
      said.place.scrollIntoView({ block: "nearest" });
    }
  }

  /** With the key, which a link could not carry. */
  async function taken(model, button) {
    const label = button.textContent;
    button.disabled = true;
    button.textContent = "Packing …";
    try {
      const response = await request(`/models/${encodeURIComponent(model.model)}/download`, {
        headers: { Accept: "*/*" },
      });
      const link = el("a", {
        download: `${model.model.replace(":", "-")}.zip`,
        href: URL.createObjectURL(await response.blob()),
      });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } finally {
      button.disabled = false;
      button.textContent = label;
    }
  }

  async function brought(chosen) {
    await act(async () => {
      const guess = chosen.name
        .replace(/\.zip$/i, "")
        .toLowerCase()
        .replace(/[^a-z0-9_-]+/g, "-")
        .replace(/^[-_]+/, "");
      const given = await ask({
        title: "Import a model",
        text: "Under which name? What is there under it gets the new one as its latest.",
        fields: [
          field(
            "Name",
            el("input", {
              name: "name",
              required: true,
              value: guess,
              pattern: "[a-z0-9][a-z0-9_\\-]{0,62}(:[a-z0-9][a-z0-9._\\-]{0,62})?",
              title: "lower-case letters, digits, - and _",
            }),
          ),
        ],
        confirm: "Import",
      });
      if (!given) return;
      said.say("Sending …");
      await upload(`/models/${encodeURIComponent(given.name)}`, chosen, {
        type: "application/zip",
        progress: (share) => said.say(`Sending, ${percent(share)} …`),
      });
      said.say(`${given.name} is here.`);
      await show();
    });
    file.value = "";
  }

  async function deleted(model) {
    const isAll = model.tag === "latest" && model.tags.length > 1;
    const sure = await ask({
      title: `Delete ${model.model}?`,
      text: isAll
        ? `All of it goes: ${model.tags.join(", ")}.`
        : "Texts that are being written from it end as they are.",
      confirm: "Delete",
      danger: true,
    });
    if (!sure) return;
    await remove(`/models/${encodeURIComponent(model.model)}`);
    await show();
  }

  return { root, show: () => void show() };
}
