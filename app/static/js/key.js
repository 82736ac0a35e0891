// The API key, where the server requires one: asked for once and kept until the tab is closed. No
// longer: whoever uses this computer next, and whatever else is served from this origin some day
// (localhost:8000 is many things), must not find it. Knows no request and no view.

import { t } from "./language.js";
import { ask, el, field } from "./ui.js";

const KEY = "charloom-key";

/** What is dispatched once the server has asked for a key, so that a page may offer to enter one. */
export const KEY_NEEDED = "key-needed";

const KEPT = t("Ask the server's operator for one. It is kept until you close this tab.");

let asking = null;
let isDeclined = false;

const storedKey = () => {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
};

export const hasKey = () => Boolean(storedKey());

/** The header that carries the key, if there is one. */
export const authorization = () => {
  const key = storedKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
};

/** Asks for a key, once for all requests that need one; resolves to whether one was entered. */
export function askForKey(status) {
  dispatchEvent(new Event(KEY_NEEDED));
  // Once the dialog has been cancelled, only a person's own action opens it again.
  if (isDeclined && !asking && !navigator.userActivation?.isActive) return false;
  return open(reasonForKey(status));
}

/** Asks for a key because somebody wants to enter one; resolves to whether one was entered. */
export const enterKey = () =>
  open(
    hasKey()
      ? t("The key that you enter takes the place of the one before, until you close this tab.")
      : KEPT,
  );

function open(reason) {
  asking ??= keyDialog(reason).then((given) => {
    asking = null;
    isDeclined = !given;
    if (given) sessionStorage.setItem(KEY, given.key.trim());
    return Boolean(given);
  });
  return asking;
}

function keyDialog(text) {
  const input = el("input", { name: "key", type: "password", required: true, autocomplete: "off" });
  return ask({
    title: t("This server requires a key"),
    text,
    fields: [field(t("Key"), input)],
    confirm: t("Unlock"),
  });
}

function reasonForKey(status) {
  if (status === 403) return t("The key you entered does not allow this. Another one may.");
  return hasKey() ? t("The key you entered is not valid on this server.") : KEPT;
}
