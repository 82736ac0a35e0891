"""The foundations: a recurrent network over characters, using only numpy.

This is the ``step`` of Andrej Karpathy's essay "The Unreasonable Effectiveness of Recurrent Neural
Networks" (2015), and everything needed to train it by hand. ``python -m models.minimal`` teaches it
to spell hello; ``python -m models.minimal FILE`` trains it on a text. Knows nothing of the rest of
the project, which does the same at speed; docs/how-it-works.md leads from here to there.
"""

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


class RNN:
    """One layer with a hidden state ``h``, initially zero, that every ``step`` updates.

    Args:
        inputs, hidden, outputs: sizes of x, h and y.
        rng: draws the weights of each matrix from N(0, 1 / its number of columns).
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> None:
        self.W_xh = rng.normal(0, inputs**-0.5, (hidden, inputs))
        self.W_hh = rng.normal(0, hidden**-0.5, (hidden, hidden))
        self.W_hy = rng.normal(0, hidden**-0.5, (outputs, hidden))
        self.b_h = np.zeros(hidden)
        self.b_y = np.zeros(outputs)
        self.forget()

    @property
    def weights(self) -> list[Array]:
        """The arrays themselves, which training changes in place."""
        return [self.W_xh, self.W_hh, self.W_hy, self.b_h, self.b_y]

    def forget(self) -> None:
        """Resets the state to zero; the weights stay."""
        self.h = np.zeros_like(self.b_h)

    def step(self, x: Array) -> Array:
        """Takes x, shape [inputs], and returns y, shape [outputs]."""
        self.h = np.tanh(self.W_hh @ self.h + self.W_xh @ x + self.b_h)
        return self.W_hy @ self.h + self.b_y

    def read(self, xs: Array) -> Array:
        """Steps through xs, [time, inputs], and returns ys, [time, outputs].

        Keeps the xs and all states, which ``backward`` needs.
        """
        self.xs, hs, ys = xs, [self.h], []
        for x in xs:
            ys.append(self.step(x))
            hs.append(self.h)
        self.hs = np.array(hs)
        return np.array(ys)

    def backward(self, dys: Array) -> tuple[Array, list[Array]]:
        """Backpropagates through time over the xs that were read last.

        With z the argument of tanh, the chain rule leads from each step to the one before::

            dh[t] = W_hy^T dy[t] + W_hh^T dz[t+1]         h feeds the output and the next h
            dz[t] = dh[t] * (1 - h[t]^2)                  the slope of tanh

        Args:
            dys: the loss's gradient with respect to ys, [time, outputs].

        Returns:
            The gradients with respect to xs, [time, inputs], and to each of ``weights``. The state
            before the first x is treated as constant.
        """
        before, after = self.hs[:-1], self.hs[1:]
        dhs = dys @ self.W_hy
        dzs = np.zeros_like(dhs)
        dz = np.zeros_like(self.h)
        for t in reversed(range(len(dys))):
            dzs[t] = dz = (dhs[t] + self.W_hh.T @ dz) * (1 - after[t] ** 2)
        gradients = [dzs.T @ self.xs, dzs.T @ before, dys.T @ after, dzs.sum(0), dys.sum(0)]
        return dzs @ self.W_xh, gradients


def stacked(vocabulary: int, hidden: int, layers: int, rng: np.random.Generator) -> list[RNN]:
    """Returns layers that each read the output of the one below: y = rnn2.step(rnn1.step(x))."""
    sizes = [vocabulary, *[hidden] * (layers - 1), vocabulary]
    return [RNN(below, hidden, above, rng) for below, above in pairwise(sizes)]


def one_of_k(ids: Ids, k: int) -> Array:
    """Returns each id as a vector of zeros with a single one, shape [time, k]."""
    vectors = np.zeros((len(ids), k))
    vectors[np.arange(len(ids)), ids] = 1
    return vectors


def log_softmax(ys: Array, temperature: float = 1.0) -> Array:
    """Converts scores to logarithms of probabilities, along the last axis."""
    # With a largest exponent of 0 exp cannot overflow; the probabilities do not change.
    scaled = (ys - ys.max(-1, keepdims=True)) / temperature
    log_p: Array = scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))
    return log_p


def predict(layers: list[RNN], inputs: Ids) -> Array:
    """Returns the log-probabilities of each next character, shape [time, k]."""
    ys = one_of_k(inputs, len(layers[-1].b_y))
    for layer in layers:
        ys = layer.read(ys)
    return log_softmax(ys)


def loss_and_gradients(layers: list[RNN], ids: Ids) -> tuple[float, list[Array]]:
    """Reads a text, predicting each character from those before it.

    Args:
        layers: their states continue from where they are.
        ids: shape [time + 1]; all but the last are inputs, all but the first are targets.

    Returns:
        The cross-entropy in nats, summed over time, and its gradient for each weight array.
    """
    inputs, targets = ids[:-1], ids[1:]
    log_p = predict(layers, inputs)
    loss = -log_p[np.arange(len(targets)), targets].sum()
    # The gradient through logarithm and softmax together is prediction minus truth.
    ds = np.exp(log_p) - one_of_k(targets, log_p.shape[1])
    gradients: list[Array] = []
    for layer in reversed(layers):
        ds, of_layer = layer.backward(ds)
        gradients = of_layer + gradients
    return float(loss), gradients


def train(layers: list[RNN], ids: Ids, sequence: int, rate: float = 0.002) -> Iterator[float]:
    """Trains on a text in pieces, over and over; yields each piece's loss in nats per character.

    Backpropagation is truncated: gradients stop at the start of a piece, and the state is carried
    over until the text starts again. Weights are updated by RMSProp (Tieleman & Hinton 2012,
    lecture 6.5), rate * g / sqrt(running mean of g^2), so that all learn at a similar pace.

    Raises:
        ValueError: the text is too short for one piece and the character after it.
    """
    if len(ids) <= sequence:
        raise ValueError(f"a sequence of {sequence} needs {sequence + 1} characters")
    weights = [w for layer in layers for w in layer.weights]
    squares = [np.zeros_like(w) for w in weights]
    while True:
        for layer in layers:
            layer.forget()
        for start in range(0, len(ids) - sequence, sequence):
            loss, gradients = loss_and_gradients(layers, ids[start : start + sequence + 1])
            for w, g, s in zip(weights, gradients, squares, strict=True):
                # Over many steps of W_hh a gradient can explode: clip it to protect the weights.
                np.clip(g, -5, 5, out=g)
                s += 0.05 * (g * g - s)
                w -= rate * g / np.sqrt(s + 1e-8)
            yield loss / sequence


def fresh(layers: list[RNN]) -> list[RNN]:
    """Returns layers with the same weights but their own zero states."""
    copies = [copy.copy(layer) for layer in layers]
    for layer in copies:
        layer.forget()
    return copies


def sample(
    layers: list[RNN], first: int, length: int, temperature: float, rng: np.random.Generator
) -> list[int]:
    """Returns ``first`` and ``length`` more ids, each drawn from the output and fed back.

    Probabilities are softmax(y / temperature): sharper below 1, flatter above; 0 is argmax.
    """
    layers = fresh(layers)
    ids = [first]
    for _ in range(length):
        y = one_of_k(np.array(ids[-1:]), len(layers[-1].b_y))[0]
        for layer in layers:
            y = layer.step(y)
        if temperature == 0:
            ids.append(int(y.argmax()))
        else:
            ids.append(int(rng.choice(len(y), p=np.exp(log_softmax(y, temperature)))))
    return ids


def read_text(path: Path) -> str:
    """Reads a text file; exits with a one-line message if it cannot be learned from."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")
    except UnicodeDecodeError as error:
        sys.exit(f"{path}: not UTF-8, from byte {error.start}")
    if len(set(text)) < 2:
        sys.exit(f"{path}: {len(set(text))} distinct characters, nothing to learn")
    return text


def show(layers: list[RNN], ids: Ids, vocabulary: list[str]) -> None:
    """Prints a short text's table: a row for each character, with the next one's probabilities."""
    text = "".join(vocabulary[i] for i in ids)
    print("  read   next   " + "".join(f"{character:>7}" for character in vocabulary))
    for t, p in enumerate(np.exp(predict(fresh(layers), ids[:-1]))):
        row = "".join(f"{probability:7.3f}" for probability in p)
        print(f"  {text[: t + 1]:<6} {text[t + 1]:<6} {row}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m models.minimal", description="A recurrent network over characters, in numpy."
    )
    parser.add_argument("file", type=Path, nargs="?", help="a text in UTF-8; without it, hello")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--sequence", type=int, default=25, help="characters per step")
    parser.add_argument("--hidden", type=int, default=100, help="cells per layer")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    hello = args.file is None
    if hello:
        parser.set_defaults(steps=1500, sequence=4, hidden=3)
        args = parser.parse_args(argv)
    if min(args.steps, args.sequence, args.hidden, args.layers) < 1:
        parser.error("steps, sequence, hidden and layers must be at least 1")
    if not 0 <= args.temperature < np.inf or args.seed < 0:
        parser.error("temperature and seed must be at least 0")

    text = "hello" if hello else read_text(args.file)
    if len(text) <= args.sequence:
        sys.exit(f"the text has {len(text)} characters, a sequence needs {args.sequence + 1}")
    vocabulary = list(dict.fromkeys(text))
    rank = {character: i for i, character in enumerate(vocabulary)}
    ids = np.array([rank[character] for character in text])
    rng = np.random.default_rng(args.seed)
    layers = stacked(len(vocabulary), args.hidden, args.layers, rng)

    report_every = -(-args.steps // 10)
    losses: list[float] = []
    for step, loss in enumerate(islice(train(layers, ids, args.sequence), args.steps), 1):
        losses.append(loss)
        if step == 1 or step % report_every == 0 or step == args.steps:
            print(f"step {step}: loss {np.mean(losses):.3f} nats per character on average")
            losses.clear()
            if hello:
                show(layers, ids, vocabulary)
            drawn = sample(layers, int(ids[0]), 4 if hello else 200, args.temperature, rng)
            print("".join(vocabulary[i] for i in drawn), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
