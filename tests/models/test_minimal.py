"""The page a class is taught from is right: its gradients, its steps, its learning, its manners.

It is also the reference that ``CharNetwork`` is held against.
"""

import ast
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import minimal
from models.config import NetworkConfig
from models.minimal import RNN, Array, loss_and_gradients, one_of_k, sample, stacked, train
from models.training.network import CharNetwork

HELLO = np.array([0, 1, 2, 2, 3])
K, HIDDEN = 4, 3


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def anywhere(layers: list[RNN], rng: np.random.Generator) -> list[Array]:
    """Biases and states made other than zero, so that nothing is right by being absent."""
    for layer in layers:
        layer.b_h[:] = rng.normal(size=layer.b_h.shape)
        layer.b_y[:] = rng.normal(size=layer.b_y.shape)
        layer.h = np.tanh(rng.normal(size=layer.h.shape))
    return [layer.h for layer in layers]


def for_torch(layers: list[RNN]) -> list[dict[str, Tensor]]:
    """Each layer's recurrent weights under torch's names.

    In torch a layer hands up h itself; here it hands up y, so a lower layer's W_hy and b_y are
    folded into the input weights of the layer above.
    """
    weights = []
    w_hy, b_y = np.eye(layers[0].W_xh.shape[1]), np.zeros(layers[0].W_xh.shape[1])
    for layer in layers:
        arrays = {
            "weight_ih": layer.W_xh @ w_hy,
            "weight_hh": layer.W_hh,
            "bias_ih": layer.W_xh @ b_y + layer.b_h,
            "bias_hh": np.zeros_like(layer.b_h),
        }
        weights.append({name: torch.from_numpy(array) for name, array in arrays.items()})
        w_hy, b_y = layer.W_hy, layer.b_y
    return weights


def torch_rnn(layers: list[RNN]) -> nn.RNN:
    hidden, inputs = layers[0].W_xh.shape
    twin = nn.RNN(inputs, hidden, len(layers), nonlinearity="tanh").double()
    twin.load_state_dict(
        {
            f"{name}_l{index}": tensor
            for index, weights in enumerate(for_torch(layers))
            for name, tensor in weights.items()
        }
    )
    return twin


def test_the_state_starts_at_zero_and_follows_the_formula(rng: np.random.Generator) -> None:
    layer = RNN(K, HIDDEN, K, rng)
    assert not layer.h.any()
    x = one_of_k(HELLO[:1], K)[0]
    y = layer.step(x)
    assert np.array_equal(layer.h, np.tanh(layer.W_xh[:, 0]))
    assert np.array_equal(y, layer.W_hy @ layer.h)
    first = layer.h
    layer.step(x)
    expected = np.tanh(layer.W_hh @ first + layer.W_xh[:, 0])
    np.testing.assert_allclose(layer.h, expected, rtol=1e-14)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gradients_agree_with_finite_differences(depth: int, rng: np.random.Generator) -> None:
    layers = stacked(K, HIDDEN, depth, rng)
    states = anywhere(layers, rng)

    def read() -> tuple[float, list[Array]]:
        for layer, state in zip(layers, states, strict=True):
            layer.h = state
        return loss_and_gradients(layers, HELLO)

    _, gradients = read()
    weights = [w for layer in layers for w in layer.weights]
    epsilon = 1e-5
    for weight, gradient in zip(weights, gradients, strict=True):
        measured = np.zeros_like(weight)
        for at in np.ndindex(weight.shape):
            kept = weight[at]
            weight[at] = kept + epsilon
            above = read()[0]
            weight[at] = kept - epsilon
            below = read()[0]
            weight[at] = kept
            measured[at] = (above - below) / (2 * epsilon)
        assert np.linalg.norm(measured - gradient) < 1e-7 * np.linalg.norm(gradient) + 1e-9


@pytest.mark.parametrize("depth", [1, 2])
def test_gradients_agree_with_autograd(depth: int, rng: np.random.Generator) -> None:
    layers = stacked(7, 11, depth, rng)
    states = anywhere(layers, rng)
    ids = rng.integers(7, size=31)
    loss, gradients = loss_and_gradients(layers, ids)

    leaves = [torch.tensor(w, requires_grad=True) for layer in layers for w in layer.weights]
    hs = [torch.from_numpy(state) for state in states]
    total = torch.zeros((), dtype=torch.float64)
    for read, following in pairwise(ids):
        y = torch.from_numpy(one_of_k(np.array([read]), 7)[0])
        for index in range(depth):
            w_xh, w_hh, w_hy, b_h, b_y = leaves[5 * index : 5 * index + 5]
            hs[index] = torch.tanh(w_hh @ hs[index] + w_xh @ y + b_h)
            y = w_hy @ hs[index] + b_y
        total = total + nn.functional.cross_entropy(y, torch.tensor(following))
    torch.autograd.backward(total)

    assert loss == pytest.approx(total.item(), rel=1e-12)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-6, atol=1e-12)


def test_gradients_agree_with_those_of_torchs_own_rnn(rng: np.random.Generator) -> None:
    layer = RNN(7, 11, 7, rng)
    (state,) = anywhere([layer], rng)
    ids = rng.integers(7, size=31)
    _, gradients = loss_and_gradients([layer], ids)

    twin = torch_rnn([layer])
    w_hy = torch.tensor(layer.W_hy, requires_grad=True)
    b_y = torch.tensor(layer.b_y, requires_grad=True)
    hs, _ = twin(torch.from_numpy(one_of_k(ids[:-1], 7)), torch.from_numpy(state[None]))
    loss = nn.functional.cross_entropy(
        hs @ w_hy.T + b_y, torch.from_numpy(ids[1:]), reduction="sum"
    )
    torch.autograd.backward(loss)
    w_xh, w_hh, b_h = (
        twin.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    )
    for leaf, gradient in zip([w_xh, w_hh, w_hy, b_h, b_y], gradients, strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2])
def test_step_equals_torchs_rnn_step_by_step(depth: int, rng: np.random.Generator) -> None:
    layers = stacked(7, 11, depth, rng)
    states = anywhere(layers, rng)
    top = layers[-1]
    twin = torch_rnn(layers)
    state = torch.from_numpy(np.stack(states))
    for x in rng.normal(size=(20, 7)):
        y = x
        for layer in layers:
            y = layer.step(y)
        with torch.no_grad():
            h, state = twin(torch.from_numpy(x[None]), state)
        np.testing.assert_allclose(state.numpy(), [layer.h for layer in layers], atol=1e-12)
        np.testing.assert_allclose(y, top.W_hy @ h[0].numpy() + top.b_y, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2])
def test_char_network_says_the_same(depth: int, rng: np.random.Generator) -> None:
    layers = stacked(7, 11, depth, rng)
    anywhere(layers, rng)
    for layer in layers:
        layer.forget()
    tensors = {
        "output.weight": torch.from_numpy(layers[-1].W_hy),
        "output.bias": torch.from_numpy(layers[-1].b_y),
    }
    for index, weights in enumerate(for_torch(layers)):
        tensors |= {f"layers.{index}.{name}_l0": tensor for name, tensor in weights.items()}
    config = NetworkConfig(7, "rnn", num_layers=depth, hidden_size=11)
    network = CharNetwork(config).double().eval()
    network.load_state_dict(tensors)
    ids = rng.integers(7, size=40)

    ys = one_of_k(ids, 7)
    for layer in layers:
        ys = layer.read(ys)
    with torch.no_grad():
        column = torch.from_numpy(ids)[:, None]
        first, state = network(column[:15])
        second, state = network(column[15:], state)

    np.testing.assert_allclose(torch.cat([first, second])[:, 0].numpy(), ys, rtol=0, atol=1e-6)
    np.testing.assert_allclose(state[0][:, 0].numpy(), [layer.h for layer in layers], atol=1e-12)


def test_the_state_is_carried_from_piece_to_piece(rng: np.random.Generator) -> None:
    whole, pieces = (stacked(K, HIDDEN, 2, np.random.default_rng(3)) for _ in range(2))
    ids = rng.integers(K, size=21)
    total, _ = loss_and_gradients(whole, ids)
    parts = [loss_and_gradients(pieces, ids[at : at + 6])[0] for at in range(0, 20, 5)]
    assert sum(parts) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("depth", [1, 2])
def test_it_learns_to_spell_hello(depth: int) -> None:
    rng = np.random.default_rng(0)
    layers = stacked(K, 16, depth, rng)
    losses = list(islice(train(layers, np.tile(HELLO, 40), sequence=10), 1500))
    assert losses[0] > 1
    assert max(losses[-20:]) < 0.02
    assert sample(layers, 0, 14, 0, rng) == np.tile(HELLO, 3).tolist()
    assert sample(layers, 0, 4, 1.0, rng) == HELLO.tolist()


def test_three_cells_are_enough_for_the_essays_four_pairs() -> None:
    layers = stacked(K, HIDDEN, 1, np.random.default_rng(0))
    losses = list(islice(train(layers, HELLO, sequence=4), 1500))
    assert losses[-1] < 0.01


def test_sampling_leaves_training_alone_and_the_seed_decides_it(rng: np.random.Generator) -> None:
    layers = stacked(K, HIDDEN, 2, rng)
    states = anywhere(layers, rng)
    once, again = (sample(layers, 0, 50, 1.0, np.random.default_rng(5)) for _ in range(2))
    assert once == again
    assert len(once) == 51
    for layer, state in zip(layers, states, strict=True):
        assert layer.h is state


def test_temperature_sharpens_and_flattens() -> None:
    scores = np.array([1.0, 2.0, 4.0])
    cold, warm, hot = (np.exp(minimal.log_softmax(scores, t)) for t in (0.5, 1.0, 2.0))
    assert cold[2] > warm[2] > hot[2] > 1 / 3
    for p in (cold, warm, hot):
        assert p.sum() == pytest.approx(1)
    assert np.isfinite(minimal.log_softmax(np.array([1e300, 0.0, -1e300]))).all()


def test_a_text_shorter_than_a_sequence_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="needs 6 characters"):
        next(train(stacked(K, HIDDEN, 1, rng), HELLO, sequence=5))


def test_it_is_made_of_numpy_and_nothing_else() -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(Path(minimal.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module or "")
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | {"numpy"}


def losses_of(printed: str) -> list[float]:
    return [float(line.split()[3]) for line in printed.splitlines() if line.startswith("step ")]


def test_a_file_is_learned_and_sampled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the cat sat in the café, the rat sat on the cat\n" * 20, encoding="utf-8")
    arguments = [str(file), "--steps", "600", "--hidden", "32", "--layers", "2", "--seed", "4"]
    minimal.main(arguments)
    printed = capsys.readouterr().out
    losses = losses_of(printed)
    assert len(losses) == 11
    assert losses[-1] < 0.5 < 2 < losses[0]
    assert "the " in printed
    minimal.main(arguments)
    assert capsys.readouterr().out == printed


def test_without_a_file_it_learns_hello(capsys: pytest.CaptureFixture[str]) -> None:
    minimal.main([])
    printed = capsys.readouterr().out
    losses = losses_of(printed)
    assert losses[0] > 1
    assert losses[-1] < 0.01
    assert printed.rstrip().endswith("hello")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        (b"", "nothing to learn"),
        (b"a" * 1000, "nothing to learn"),
        (b"too short", "a sequence needs 26"),
        (b"caf\xe9 " * 100, "not UTF-8"),
    ],
)
def test_a_file_that_teaches_nothing_is_refused_in_one_line(
    content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    ran = subprocess.run(
        [sys.executable, "-m", "models.minimal", str(file)],
        cwd=Path(minimal.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
    assert complaint in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--steps", "0"], ["--hidden", "x"], ["--temperature", "nan"], ["--seed", "-1"]],
)
def test_options_out_of_range_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        minimal.main(arguments)
    assert stopped.value.code == 2
    assert "must be" in (error := capsys.readouterr().err) or "invalid" in error
