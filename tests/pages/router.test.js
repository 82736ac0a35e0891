// Which view is at which path.

import assert from "node:assert/strict";
import { test } from "node:test";
import { viewAt } from "../../app/static/js/router.js";

test("each view has its path", () => {
  const names = {
    "/": "Write",
    "/train": "Train",
    "/train/0123456789abcdef012345": "Train",
    "/train/compare": "Train",
    "/inside": "Inside",
    "/names": "Names",
    "/models": "Models",
    "/about": "About",
    "/docs": "API",
  };
  for (const [path, name] of Object.entries(names)) assert.equal(viewAt(path).name, name);
});

test("no other path has a view", () => {
  for (const path of ["/docs/", "/models/toy", "/train/", "/train/a/b", "/insideout", ""])
    assert.equal(viewAt(path), undefined, path);
});
