// The HTML that puts names on another page, what the server must be told for it, and the models
// that have names to give. Knows no element and no request.

/** The models trained on lists, those with the shortest lines first. */
export function lists(models) {
  const length = ({ corpus }) =>
    corpus?.lines ? corpus.characters / corpus.lines : Number.POSITIVE_INFINITY;
  return models.filter(({ names }) => names).sort((one, other) => length(one) - length(other) || 0);
}

/**
 * The two lines of HTML for another page. `folder` is the URL of the script's, attributes are
 * pairs, and `true` is one without value.
 */
export function snippet(folder, attributes) {
  const written = attributes.map(([name, value]) =>
    value === true ? ` ${name}` : ` ${name}="${escaped(value)}"`,
  );
  return (
    `<script type="module" src="${folder}charloom-names.js"></script>\n` +
    `<charloom-names${written.join("")}></charloom-names>`
  );
}

const escaped = (value) => value.replace(/&/g, "&amp;").replace(/"/g, "&quot;");

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\]|.*\.localhost)$/;
/** Browsers take more for a host than there can be. */
const HOST = /^([a-z0-9._-]+|\[[0-9a-f:.]+\])$/;
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** The origin of a page whose address somebody types; null if it is none. */
export function originOf(text) {
  if (!text) return null;
  const host = text.split(/[/:]/)[0];
  const scheme = LOOPBACK.test(host) ? "http" : "https";
  try {
    const url = new URL(SCHEME.test(text) ? text : `${scheme}://${text}`);
    const isPage = ["http:", "https:"].includes(url.protocol) && HOST.test(url.hostname);
    return isPage ? url.origin : null;
  } catch {
    return null;
  }
}

/** Whether others than this computer may reach a server, by its URL. */
export const isReachable = (server) => !LOOPBACK.test(new URL(server).hostname);

/** The settings that a server lacks before pages of an origin may draw names, one a line. */
export function settingsFor(origin, { allowed, needs_key: needsKey }) {
  return [
    allowed ? null : `CHARLOOM_CORS_ORIGINS=${origin}`,
    needsKey ? "CHARLOOM_PUBLIC=sample" : null,
  ].filter(Boolean);
}
