// Takes a model out of the server, as a file.

import { request } from "../api.js";
import { t } from "../language.js";
import { save } from "../ui.js";

export const pathOf = ({ model }) => `/models/${encodeURIComponent(model)}`;

/** Saves a model as "zip" or "html", with the key, which a link could not carry. */
export async function download(model, format, button) {
  const label = button.textContent;
  button.disabled = true;
  button.textContent = t("Packing …");
  try {
    const headers = { Accept: "*/*" };
    const response = await request(`${pathOf(model)}/download?format=${format}`, { headers });
    save(await response.blob(), fileOf(model, format));
  } finally {
    button.disabled = false;
    button.textContent = label;
  }
}

export const fileOf = ({ model }, format) => `${model.replace(":", "-")}.${format}`;
