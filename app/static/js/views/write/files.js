// The file that a tree of variants is saved as, and read from. Knows no element.

import { FORMAT } from "./tree.js";
import { variantFrom } from "./variant.js";

/** The variants in a file, with new ids where `tree` has theirs; null if it is not such a file. */
export function variantsIn(json, tree) {
  let file;
  try {
    file = JSON.parse(json);
  } catch {
    return null;
  }
  if (file?.format !== FORMAT || !Array.isArray(file.variants)) return null;
  const variants = file.variants.map(variantFrom).filter(Boolean);
  const ids = new Map(
    variants.map(({ id }, i) => [id, tree.has(id) ? `${id}-${Date.now()}-${i}` : id]),
  );
  for (const variant of variants) {
    variant.id = ids.get(variant.id);
    variant.parent = ids.get(variant.parent) ?? null;
    if (variant.parent === null) variant.at = null;
  }
  return variants;
}
