"""A model is named in one way, and no name is a path."""

import pytest

from models.checkpoints.reference import Reference, UnknownModel
from tests.forgery import PATHS


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("linux", Reference("linux", "latest")),
        ("linux:latest", Reference("linux")),
        ("linux:step-100", Reference("linux", "step-100")),
        ("0_a-b:v1.0", Reference("0_a-b", "v1.0")),
        ("a" * 63, Reference("a" * 63)),
    ],
)
def test_a_reference_is_a_name_and_a_tag(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == Reference.from_client(text) == reference


@pytest.mark.parametrize(
    ("text", "shown", "full"),
    [
        ("linux", "linux", "linux:latest"),
        ("linux:latest", "linux", "linux:latest"),
        ("linux:v1.0", "linux:v1.0", "linux:v1.0"),
    ],
)
def test_the_tag_latest_is_not_shown(text: str, shown: str, full: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.full) == (shown, full)
    assert Reference.parse(shown) == Reference.parse(full) == reference


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_no_name_or_tag_is_a_path(path: str) -> None:
    for text in (path, f"{path}:latest", f"linux:{path}", f"linux:latest:{path}"):
        with pytest.raises(ValueError, match="a model is"):
            Reference.parse(text)
        with pytest.raises(UnknownModel):
            Reference.from_client(text)
    for name, tag in ((path, "latest"), ("linux", path)):
        with pytest.raises(ValueError, match="a model is"):
            Reference(name, tag)


def test_latest_comes_first_in_lists() -> None:
    texts = ["b:a", "b", "a:z", "a-b", "b:step-1", "a"]
    in_order = sorted(map(Reference.parse, texts), key=lambda reference: reference.place)
    assert [str(reference) for reference in in_order] == ["a", "a:z", "a-b", "b", "b:a", "b:step-1"]


def test_one_tag_is_the_n_gram_models() -> None:
    assert Reference("linux", "ngram").is_ngram
    assert not Reference("ngram").is_ngram
