// A recurrent network for one text: models/training/network.py in plain JavaScript, and a reader
// that can go back in what it has read. Knows ids; no text and no page.

import { Table } from "./table.js";

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** New h, and for an LSTM c, from what input and recurrent weights give; blocks as in torch. */
const CELLS = {
  lstm(input, recurrent, h, c) {
    const size = h.length;
    const gate = (block, i) => input[block * size + i] + recurrent[block * size + i];
    for (let i = 0; i < size; i++) {
      c[i] = sigmoid(gate(1, i)) * c[i] + sigmoid(gate(0, i)) * Math.tanh(gate(2, i));
      h[i] = sigmoid(gate(3, i)) * Math.tanh(c[i]);
    }
  },
  gru(input, recurrent, h) {
    const size = h.length;
    for (let i = 0; i < size; i++) {
      const reset = sigmoid(input[i] + recurrent[i]);
      const update = sigmoid(input[size + i] + recurrent[size + i]);
      const fresh = Math.tanh(input[2 * size + i] + reset * recurrent[2 * size + i]);
      h[i] = (1 - update) * fresh + update * h[i];
    }
  },
  rnn(input, recurrent, h) {
    for (let i = 0; i < h.length; i++) h[i] = Math.tanh(input[i] + recurrent[i]);
  },
};

/** Adds a matrix times a vector, row by row. */
function addProduct(result, matrix, vector) {
  const columns = vector.length;
  const whole = columns - (columns % 4);
  for (let row = 0, at = 0; row < result.length; row++) {
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let i = 0; i < whole; i += 4, at += 4) {
      a += matrix[at] * vector[i];
      b += matrix[at + 1] * vector[i + 1];
      c += matrix[at + 2] * vector[i + 2];
      d += matrix[at + 3] * vector[i + 3];
    }
    for (let i = whole; i < columns; i++, at++) a += matrix[at] * vector[i];
    result[row] += a + b + c + d;
  }
}

export class Network {
  #config;
  #weights;
  #layers = [];
  #table;
  #cell;
  /** The first layer's bias without a style. */
  #bias;

  constructor(config, { weights, table }) {
    this.#config = config;
    this.#weights = weights;
    for (let layer = 0; layer < config.num_layers; layer++) {
      const of = (name) => weights[`layers.${layer}.${name}_l0`];
      const [input, recurrent] = [of("weight_ih"), of("weight_hh")];
      this.#layers.push({ input, recurrent, biases: [of("bias_ih"), of("bias_hh")] });
    }
    this.#bias = this.#layers[0].biases[0];
    this.#table = table && new Table(config.vocabulary_size, table);
    this.#cell = CELLS[config.kind];
  }

  get cells() {
    return this.#config.num_layers * this.#config.hidden_size;
  }

  /** Reads from now on in a mix of styles: their columns, the last, are on in each step. */
  readIn(weights) {
    const [{ input, biases }] = this.#layers;
    const width = input.length / this.#bias.length;
    const sum = (row) =>
      weights.reduce(
        (a, weight, i) => a + weight * input[(row + 1) * width - weights.length + i],
        0,
      );
    biases[0] = this.#bias.map((bias, row) => bias + sum(row));
  }

  /** A state of zeros: h of each layer, then c. */
  begin() {
    return new Float32Array((this.#config.kind === "lstm" ? 2 : 1) * this.cells);
  }

  /** Reads an id, which changes the state. */
  read(state, id) {
    let below = null;
    this.#layers.forEach((layer, index) => {
      const [h, c] = this.#parts(state, index);
      const [input, recurrent] = layer.biases.map((bias) => new Float64Array(bias));
      if (below) addProduct(input, layer.input, below);
      else this.#addInput(input, layer.input, id);
      addProduct(recurrent, layer.recurrent, h);
      this.#cell(input, recurrent, h, c);
      below = h;
    });
  }

  /** The h and the c of a layer, within the state. */
  #parts(state, layer) {
    const size = this.#config.hidden_size;
    return [layer * size, this.cells + layer * size].map((at) => state.subarray(at, at + size));
  }

  #addInput(result, matrix, id) {
    const size = this.#config.embedding_size;
    const columns = matrix.length / result.length;
    if (size) {
      const embedded = new Float32Array(columns);
      embedded.set(this.#weights["embedding.weight"].subarray(id * size, (id + 1) * size));
      addProduct(result, matrix, embedded);
      return;
    }
    // A product with a vector of zeros and a single one is a column.
    for (let row = 0; row < result.length; row++) result[row] += matrix[row * columns + id];
  }

  /** How excited each cell is, from -127 to 127: its tanh(c) in an LSTM, else its h. */
  activations(state) {
    const isLong = this.#config.kind === "lstm";
    const cells = state.subarray(isLong ? this.cells : 0, isLong ? undefined : this.cells);
    return Int8Array.from(cells, (cell) => Math.round(127 * (isLong ? Math.tanh(cell) : cell)));
  }

  /** What may come next, after the ids of `read`: one number for each id. */
  logits(state, read) {
    const [h] = this.#parts(state, this.#config.num_layers - 1);
    const logits = new Float64Array(this.#weights["output.bias"]);
    addProduct(logits, this.#weights["output.weight"], h);
    if (!this.#table) return logits;
    const gates = new Float64Array(this.#weights["gates.bias"]);
    addProduct(gates, this.#weights["gates.weight"], h);
    const counted = this.#table.logs(read);
    return logits.map((own, id) => gates[0] * own + gates[1] * counted[id]);
  }
}

/** Whether the state after so many ids is kept, to go back to: all early ones, then a few. */
const isKept = (count) => count <= 64 || count % 32 === 0;

/** Reads ids one by one, and goes back. */
export class Reader {
  #network;
  #state;
  #kept = [];
  /** The ids read. */
  ids = [];
  /** The activations of all cells after each of them, from -127 to 127. */
  activations = [];

  constructor(network) {
    this.#network = network;
    this.#state = network.begin();
    this.#kept[0] = this.#state.slice();
  }

  /** Goes back as little as needed to have read nothing but a beginning of these ids. */
  rewind(ids) {
    let count = 0;
    while (count < this.ids.length && this.ids[count] === ids[count]) count++;
    if (count < this.ids.length) {
      while (!isKept(count)) count--;
      this.#state.set(this.#kept[count]);
      for (const one of [this.ids, this.activations]) one.length = count;
      this.#kept.length = count + 1;
    }
    return count;
  }

  read(id) {
    this.#network.read(this.#state, id);
    this.ids.push(id);
    this.activations.push(this.#network.activations(this.#state));
    if (isKept(this.ids.length)) this.#kept[this.ids.length] = this.#state.slice();
  }

  get logits() {
    return this.#network.logits(this.#state, this.ids);
  }
}
