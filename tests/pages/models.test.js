// Models without their page: the words and figures of a card, the name for an import.

import assert from "node:assert/strict";
import { test } from "node:test";
import { lossCurve, pathOf } from "../../app/static/js/views/models/card.js";
import { nameFrom } from "../../app/static/js/views/models.js";

test("a path holds the tag", () => {
  assert.equal(pathOf({ model: "toy:v1.2" }), "/models/toy%3Av1.2");
});

test("the curve is the training's loss, or the validation's where there is hardly any", () => {
  const points = [
    { step: 1, train_loss: 4, val_loss: null },
    { step: 2, train_loss: 3, val_loss: 3.5 },
    { step: 3, train_loss: null, val_loss: 3.2 },
  ];
  assert.deepEqual(lossCurve(points), [
    [2, 3.5],
    [3, 3.2],
  ]);
  assert.deepEqual(lossCurve([...points, { step: 4, train_loss: 2, val_loss: null }]), [
    [1, 4],
    [2, 3],
    [4, 2],
  ]);
  assert.deepEqual(lossCurve([]), []);
});

test("an imported model is named after its file", () => {
  const names = {
    "toy.zip": "toy",
    "Taken Away.ZIP": "taken-away",
    "Bücher (2).zip": "b-cher-2-",
    "__x.zip": "x",
    names_v2: "names_v2",
    ".zip": "",
  };
  for (const [file, name] of Object.entries(names)) assert.equal(nameFrom(file), name, file);
});
