// Reads texts with packed networks: JSON in, JSON out, for test_portable.py.

import { readFileSync } from "node:fs";
import { Network, Reader } from "../../app/static/portable/engine/network.js";
import { unpacked } from "../../app/static/portable/engine/packed.js";
import { likelihoods, Vocabulary } from "../../app/static/portable/engine/writing.js";

const read = [];
for (const { header, weights, text, style } of JSON.parse(readFileSync(0, "utf8"))) {
  const contents = await unpacked(header, weights);
  const network = new Network(header.config, contents);
  if (style) network.readIn(style);
  const reader = new Reader(network);
  const ids = new Vocabulary(header.vocabulary).encode(text).flat();
  reader.read(header.start_id);
  const shares = ids.map((id) => {
    const share = likelihoods(reader.logits)[id];
    reader.read(id);
    return share;
  });
  // Back to the middle, and the same again.
  reader.rewind([header.start_id, ...ids.slice(0, ids.length / 2)]);
  for (const id of ids.slice(reader.ids.length - 1)) reader.read(id);
  const again = likelihoods(reader.logits)[0];
  const activations = reader.activations.slice(1).map((cells) => cells[0] / 127);
  const hashes = [...contents.hashes];
  read.push({ shares, activations, again, hashes });
}
console.log(JSON.stringify(read));
