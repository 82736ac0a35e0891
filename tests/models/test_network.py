"""The network has the sizes that the field knows, and chunks with a carried state are one text."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.config import NetworkConfig
from models.options import NetworkKind
from models.training.beginning import new_network
from models.training.network import (
    COMPACT_FROM,
    DEEP_STD,
    INPUT_STD,
    CharNetwork,
    State,
    byte_mask,
)
from models.training.ranks import OwnRows

KINDS: list[NetworkKind] = ["lstm", "gru", "rnn"]


@pytest.mark.parametrize(
    ("vocabulary", "hidden", "layers", "count"), [(65, 128, 2, 240_321), (78, 512, 3, 5_454_926)]
)
def test_it_has_as_many_parameters_as_char_rnn_prints(
    vocabulary: int, hidden: int, layers: int, count: int
) -> None:
    config = NetworkConfig(vocabulary, "lstm", layers, hidden)
    assert config.parameters() == count
    assert sum(p.numel() for p in CharNetwork(config).parameters()) == count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("embedding", [0, 5])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_config_knows_every_tensor(kind: NetworkKind, embedding: int, layers: int) -> None:
    """The server reads checkpoints by it, without torch."""
    config = NetworkConfig(7, kind, layers, 4, embedding)
    tensors = CharNetwork(config).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == config.shapes()
    assert config.parameters() == sum(tensor.numel() for tensor in tensors.values())


def some_network(kind: NetworkKind, embedding: int = 0, dropout: float = 0.0) -> CharNetwork:
    torch.manual_seed(1)
    return CharNetwork(NetworkConfig(9, kind, 2, 16, embedding, dropout))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("embedding", [0, 3])
def test_chunks_with_the_carried_state_are_one_long_text(kind: NetworkKind, embedding: int) -> None:
    network = some_network(kind, embedding)
    ids = torch.randint(9, (20, 3))
    whole, end = network(ids)
    state: State | None = None
    pieces = []
    for begin, stop in itertools.pairwise((0, 1, 8, 20)):
        logits, state = network(ids[begin:stop], state)
        pieces.append(logits)
    assert whole.shape == (20, 3, 9)
    torch.testing.assert_close(torch.cat(pieces), whole)
    assert state is not None
    assert len(state) == (2 if kind == "lstm" else 1)
    for part, expected in zip(state, end, strict=True):
        assert part.shape == (2, 3, 16)
        torch.testing.assert_close(part, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_see_each_other(kind: NetworkKind) -> None:
    network = some_network(kind)
    ids = torch.randint(9, (6, 3))
    torch.testing.assert_close(network(ids)[0][:, 1:2], network(ids[:, 1:2])[0])


def test_one_of_k_input_is_a_column_of_the_input_weights() -> None:
    network = some_network("rnn")
    first: Any = network.layers[0]
    h = torch.tanh(first.weight_ih_l0[:, 4] + first.bias_ih_l0 + first.bias_hh_l0)
    _logits, (state,) = network(torch.tensor([[4]]))
    torch.testing.assert_close(state[0, 0], h)


@pytest.mark.parametrize("kind", KINDS)
def test_of_thousands_of_symbols_only_those_of_a_batch_are_read(
    kind: NetworkKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what comes out, and every gradient, are as if all of them were."""
    widths = []
    one_of = CharNetwork._one_of

    def note(network: CharNetwork, ids: Tensor, count: int) -> Tensor:
        widths.append(count)
        return one_of(network, ids, count)

    monkeypatch.setattr(CharNetwork, "_one_of", note)
    torch.manual_seed(1)
    network = CharNetwork(NetworkConfig(5000, kind, 2, 16))
    ids = torch.tensor([[4, 4999, 4], [7, 0, 4]])
    outcomes = []
    for compact_from in (COMPACT_FROM, 6000):
        monkeypatch.setattr("models.training.network.COMPACT_FROM", compact_from)
        logits, state = network(ids)
        more, state = network(ids, state)
        network.zero_grad()
        (logits.square().mean() + more.square().mean()).backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        outcomes.append([logits, more, *state, *gradients])
    assert widths == [4, 4, 5000, 5000]
    for compact, dense in zip(*outcomes, strict=True):
        torch.testing.assert_close(compact, dense)


@pytest.mark.parametrize("kind", KINDS)
def test_biases_start_at_zero(kind: NetworkKind) -> None:
    for name, bias in some_network(kind).named_parameters():
        assert "bias" not in name or not bias.any()


def test_char_rnns_start_remembers() -> None:
    """Its forget bias is 1, and every weight within 0.08."""
    network = new_network(NetworkConfig(9, "lstm", 2, 16), seed=1, initialisation="uniform")
    for name, parameter in network.named_parameters():
        forget = parameter[16:32] if "bias_ih" in name else parameter[:0]
        assert (forget == 1).all()
        assert (parameter.abs() <= 0.08).sum() == parameter.numel() - forget.numel()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_start_large_where_torchs_would_take_long_to_matter(kind: NetworkKind) -> None:
    """1-of-k input in each kind; from layer to layer and to the output in those with gates."""
    torch.manual_seed(2)
    tensors = CharNetwork(NetworkConfig(100, kind, 2, 64)).state_dict()
    large = {"layers.0.weight_ih_l0": INPUT_STD}
    if kind != "rnn":
        large |= dict.fromkeys(("layers.1.weight_ih_l0", "output.weight"), DEEP_STD / 8)
    for name, weights in tensors.items():
        if "weight" in name and name not in large:
            assert float(weights.abs().max()) <= 64**-0.5
        elif "weight" in name:
            assert float(weights.std()) == pytest.approx(large[name], rel=0.05)
            assert abs(float(weights.mean())) < 0.02


def test_embedded_input_weights_start_as_torch_draws_them() -> None:
    torch.manual_seed(2)
    tensors = CharNetwork(NetworkConfig(100, "lstm", 1, 64, embedding_size=8)).state_dict()
    assert float(tensors["layers.0.weight_ih_l0"].abs().max()) <= 64**-0.5


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(3)
    mask = byte_mask(torch.empty(500, 1001), share)
    assert mask.shape == (500, 1001)
    assert abs(float((mask == 0).float().mean()) - share) < 0.004
    assert abs(float(mask.mean()) - 1) < 0.02
    assert len(set(mask.flatten().tolist())) == 2


def test_a_mask_follows_the_seed() -> None:
    masks = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        masks.append(byte_mask(torch.empty(7, 9), 0.5))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert byte_mask(torch.empty(3, dtype=torch.bfloat16), 0.5).dtype == torch.bfloat16


def test_dropout_is_for_training_alone() -> None:
    network = some_network("lstm", dropout=0.5)
    plain = some_network("lstm")
    ids = torch.randint(9, (5, 2))
    assert torch.equal(network.eval()(ids)[0], plain(ids)[0])
    assert not torch.equal(network.train()(ids)[0], plain(ids)[0])


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_between_layers_and_before_the_output(layers: int) -> None:
    """And never on the state that is carried."""
    torch.manual_seed(5)
    network = CharNetwork(NetworkConfig(9, "lstm", layers, 200, dropout=0.5)).train()
    inputs: list[Tensor] = []

    def note(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs.append(arguments[0])

    for module in (*network.layers, network.output):
        module.register_forward_pre_hook(note)
    _logits, (h, _c) = network(torch.randint(9, (3, 2)))
    dropped = [float((values == 0).float().mean()) for values in inputs[1:]]
    assert all(0.4 < share < 0.6 for share in dropped)
    assert not (h == 0).any()


def test_ranks_take_their_rows_of_one_mask() -> None:
    """Drawn by equal generators, which stay equal."""
    masks = []
    for rows in (None, OwnRows.of(0, 2, 5), OwnRows.of(1, 2, 5)):
        torch.manual_seed(1)
        own = 5 if rows is None else rows.end - rows.begin
        masks.append((byte_mask(torch.empty(7, own, 9), 0.5, rows), torch.get_rng_state()))
    (whole, after), *parts = masks
    assert torch.equal(torch.cat([mask for mask, _ in parts], dim=1), whole)
    assert all(torch.equal(state, after) for _, state in parts)
