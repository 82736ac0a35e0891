"""One cell: what it tracks, how its activations are spread, and where they are extreme."""

import numpy as np
import pytest

from models.inside.cells import find_cells
from models.inside.hypotheses import quotes
from models.inside.portrait import BINS, STRETCHES, portrait
from models.inside.reader import Stopped, read_apart, trace
from models.text.vocab import Vocabulary
from tests.planted import COLUMN, QUOTES, made, planted, quoting_text
from tests.toys import ALPHABET, BYTES, toy_checkpoint


def test_a_planted_cell() -> None:
    checkpoint = made(planted(), quoting_text(20_000))
    findings = find_cells(checkpoint)
    texts = [passage["text"] for passage in findings["passages"]]
    told = portrait(checkpoint, findings, 0, QUOTES)
    [tracked] = [one for one in told["tracks"] if one["name"] == "quotes"]
    assert tracked["title"] == "inside quotes"
    # Each passage is read from the zero state.
    shown = np.concatenate(
        [trace(checkpoint, text, layer=0, cells=[QUOTES]).activations[:, 0] for text in texts]
    )
    assert told["counts"] == np.histogram(shown, BINS, (-1, 1))[0].tolist()
    assert tracked["counts"] is not None
    assert sum(tracked["counts"]) == sum(int(quotes(text).sum()) for text in texts)
    # Quotes are where it is excited.
    assert sum(tracked["counts"][BINS // 2 :]) > 0.95 * sum(tracked["counts"])
    for stretches in (told["excited"], told["quiet"]):
        assert len(stretches) == STRETCHES
        for one in stretches:
            assert len(one["text"]) == len(one["activations"])
            assert any(one["text"] in text for text in texts)
    means = [np.mean(one["activations"]) for one in told["excited"] + told["quiet"]]
    assert means[0] >= means[1] >= means[2] > means[5] >= means[4] >= means[3]
    numbers = portrait(checkpoint, findings, 0, COLUMN)["tracks"]
    assert ("column", None) in [(one["name"], one["counts"]) for one in numbers]


def test_a_cell_of_a_model_without_text() -> None:
    checkpoint = made(planted(), b"")
    told = portrait(checkpoint, find_cells(checkpoint), 0, 1)
    assert told == {
        **{"layer": 0, "cell": 1, "tracks": [], "counts": [0] * BINS},
        **{"excited": [], "quiet": []},
    }


@pytest.mark.parametrize(
    ("vocabulary", "texts"),
    [(BYTES, ["Aあ\n", "A", "ああああA"]), (ALPHABET, ["the quick", "fox", "あ"])],
    ids=["bytes", "characters"],
)
def test_texts_side_by_side_are_read_as_one_by_one(
    vocabulary: Vocabulary, texts: list[str]
) -> None:
    checkpoint = toy_checkpoint(vocabulary=vocabulary)
    for text, own in zip(texts, read_apart(checkpoint, texts, 1, 3), strict=True):
        alone = trace(checkpoint, text, layer=1, cells=[3]).activations[:, 0]
        assert own == pytest.approx(alone, abs=1e-5)
    with pytest.raises(Stopped):
        read_apart(checkpoint, texts, 0, 0, lambda: True)
