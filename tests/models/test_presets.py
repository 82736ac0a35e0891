"""A preset fills what was left open, and what was asked for stays."""

from dataclasses import asdict
from typing import get_args

import pytest

from models.options import PresetName, TrainingOptions
from models.presets import PRESETS, with_preset


def test_every_name_has_a_preset() -> None:
    assert tuple(PRESETS) == get_args(PresetName)


def test_auto_decides_nothing() -> None:
    assert with_preset(TrainingOptions()) == TrainingOptions() == PRESETS["auto"]


@pytest.mark.parametrize("name", get_args(PresetName))
def test_what_was_left_open_is_the_presets(name: PresetName) -> None:
    found, preset = asdict(with_preset(TrainingOptions(preset=name))), asdict(PRESETS[name])
    assert found == preset | {"preset": name}


@pytest.mark.parametrize("name", get_args(PresetName))
def test_what_was_asked_for_stays(name: PresetName) -> None:
    asked = TrainingOptions(preset=name, hidden_size=99, dropout=0.0, patience=0, seed=5)
    found = with_preset(asked)
    assert (found.hidden_size, found.dropout, found.patience, found.seed) == (99, 0.0, 0, 5)
    assert found.num_layers == PRESETS[name].num_layers


def test_a_number_of_steps_means_so_many_whatever_passes_that_is() -> None:
    assert with_preset(TrainingOptions(preset="shakespeare")).max_epochs == 30
    steps = with_preset(TrainingOptions(preset="shakespeare", max_steps=10))
    assert (steps.max_steps, steps.max_epochs) == (10, None)
    both = with_preset(TrainingOptions(preset="shakespeare", max_steps=10, max_epochs=2))
    assert (both.max_steps, both.max_epochs) == (10, 2)
    timed = with_preset(TrainingOptions(preset="shakespeare", max_seconds=60))
    assert (timed.max_seconds, timed.max_epochs) == (60, 30)


def test_char_rnn_is_train_lua() -> None:
    """The defaults of its command line, commit 6f9487a."""
    found = with_preset(TrainingOptions(preset="char-rnn"))
    assert (found.network, found.num_layers, found.hidden_size) == ("lstm", 2, 128)
    assert (found.batch_size, found.sequence_length, found.max_epochs) == (50, 50, 50)
    assert (found.optimizer, found.learning_rate, found.schedule) == ("rmsprop", 2e-3, "char-rnn")
    assert (found.grad_clip, found.clip, found.dropout) == (5.0, "elements", 0.0)
