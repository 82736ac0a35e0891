"""Options come back from JSON as they went, and refuse words that they do not know."""

from dataclasses import fields

import pytest

from models.options import TrainingOptions


def test_options_come_back_from_json() -> None:
    options = TrainingOptions(hidden_size=64, sample_at=(1, 2), dropout=0.0, keep_snapshots=(7,))
    assert TrainingOptions.from_json(options.to_json()) == options


def test_what_is_open_is_not_written() -> None:
    assert TrainingOptions().to_json() == {
        "preset": "auto",
        "validation_fraction": 0.05,
        "tokens": "auto",
        "sample_at": [100, 300, 500, 700, 1200, 2000],
        "sample_prime": "",
        "sample_temperature": 1.0,
        "seed": 0,
        "devices": 1,
    }


def test_an_option_of_another_release_is_left_out() -> None:
    assert TrainingOptions.from_json({"seed": 3, "beam_width": [2]}) == TrainingOptions(seed=3)


@pytest.mark.parametrize(
    "option", ["preset", "network", "optimizer", "schedule", "clip", "initialisation"]
)
def test_an_unknown_word_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be one of"):
        TrainingOptions(**{option: "other"})  # type: ignore[arg-type]


def test_each_option_of_clients_says_what_it_does() -> None:
    offered = [f for f in fields(TrainingOptions) if f.metadata]
    assert {f.name for f in fields(TrainingOptions)} - {f.name for f in offered} == {
        "clip",
        "initialisation",
    }
    for option in offered:
        assert option.metadata["help"].endswith(".")
