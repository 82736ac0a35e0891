// The files that a text is made of: chosen, or dropped, with the folders among them. Knows no
// server.

import { t } from "../../language.js";
import { MAX_FILES } from "../../limits.js";
import { number } from "../../ui.js";

/** A path without the folder that was chosen. */
const within = (path) => path.replace(/^\/?[^/]+\//, "");

/** Whether a path is hidden: the server would leave it out, and `.git` alone is many files. */
export const isHidden = (path) =>
  path.split("/").some((part) => part.startsWith(".") || part === "node_modules");

export class TooManyFiles extends Error {
  constructor() {
    super(
      t("There are more than {most} files: join them to fewer first, or choose only some.", {
        most: number(MAX_FILES),
      }),
    );
  }
}

/**
 * The files of an input as `{path, file}`, and a name for all of them.
 *
 * Of a folder, `path` is the path in it.
 */
export function chosen(files) {
  const [first] = files;
  const folder = first.webkitRelativePath;
  const found = [...files].map((file) => ({
    path: folder ? within(file.webkitRelativePath) : file.name,
    file,
  }));
  return gathered(folder ? folder.split("/")[0] : first.name, found);
}

/** What was dropped, as `chosen` returns it; null for what is no file, such as text. */
export async function dropped(transfer) {
  // Both are gone once this function has waited.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...transfer.files];
  if (!entries.some((entry) => entry.isDirectory)) return files.length ? chosen(files) : null;
  const found = [];
  for (const entry of entries) await walk(entry, found);
  const isOne = entries.length === 1;
  const named = found.map(({ path, file }) => ({ path: isOne ? within(path) : path, file }));
  return gathered(entries[0].name, named);
}

function gathered(name, found) {
  const kept = found.length > 1 ? found.filter(({ path }) => !isHidden(path)) : found;
  if (kept.length > MAX_FILES) throw new TooManyFiles();
  return { name, files: kept, hidden: found.length - kept.length };
}

async function walk(entry, found) {
  const path = entry.fullPath.slice(1);
  if (found.length > MAX_FILES) throw new TooManyFiles();
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ path, file });
  } else if (!isHidden(entry.name)) {
    for await (const one of inside(entry)) await walk(one, found);
  }
}

/** The entries of a folder, which come in pieces of a hundred. */
async function* inside(entry) {
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    yield* some;
  }
}

/** A form with all of them, as the server takes it. */
export function formOf(files) {
  const form = new FormData();
  for (const { path, file } of files) form.append("corpus", file, path);
  return form;
}
