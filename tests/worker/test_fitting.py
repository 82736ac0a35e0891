"""What fits into a memory is named: a smaller batch, else fewer cells, else what else there is."""

from models import sizing
from models.config import NetworkConfig
from worker.trainer.fitting import Sizes

CONFIG = NetworkConfig(100, num_layers=2, hidden_size=512)


def sizes(available: int, batch_size: int = 64) -> Sizes:
    return Sizes(CONFIG, batch_size, 128, available)


def needed(batch_size: int) -> int:
    return sizing.training_bytes(CONFIG, batch_size, 128)


def test_the_largest_half_that_fits_is_named() -> None:
    for batch_size in (32, 16, 8):
        room = int(needed(batch_size) / 0.9) + 1
        assert sizes(room).largest_batch() == batch_size
        said = sizes(room).advice("Take")
        assert said == f"Take batch_size={batch_size}, which should fit."


def test_what_an_estimate_thinks_fits_but_did_not_is_halved() -> None:
    assert sizes(100 * needed(64)).largest_batch() == 32
    assert sizes(100 * needed(1), batch_size=1).largest_batch() is None


def test_a_network_that_is_too_large_by_itself_becomes_narrower() -> None:
    room = int(needed(1) / 0.9) - 1
    assert sizes(room).largest_batch() is None
    said = Sizes(CONFIG, 1, 2, room).advice("Take")
    assert said.startswith("Take hidden_size=") and said.endswith(", which should fit.")


def test_where_nothing_fits_other_sizes_are_named() -> None:
    assert sizes(1 << 20).advice("Take") == "Take a smaller sequence_length, or fewer layers."
