"""Wide characters and emoji: each has its place in every picture, and is one unit of a text."""

from collections.abc import Iterator
from urllib.parse import urlencode

import httpx2
import pytest
from playwright.sync_api import Page, expect

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.vocab import Vocabulary
from tests.browsing import Window, point_at, written
from tests.serving import serve
from tests.toys import toy_checkpoint

FLAG, FAMILY, KEYCAP = "\U0001f1ef\U0001f1f5", "\U0001f469\u200d\U0001f467", "1\ufe0f\u20e3"
UNITS = ["a", "あ", FLAG, FAMILY, KEYCAP, "b", "語"]
TEXT = "".join(UNITS)
ALPHABET = Vocabulary("characters", sorted({0x0A, 0x20, *map(ord, TEXT)}))

ROUNDING = 0.5
"""Pixels."""

LANGUAGES = pytest.mark.parametrize("locale", ["en-US", "ja-JP"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("wide"), toy_checkpoint(vocabulary=ALPHABET))
    with serve(data) as client:
        yield client


def units_before(position: int) -> int:
    """UTF-16 units of the text before one of its units."""
    return len("".join(UNITS[:position]).encode("utf-16-le")) // 2


def marked(page: Page) -> float:
    """How wide the mark on the chosen unit is, in pixels."""
    width: float = page.locator(".body > .mark").first.evaluate("mark => mark.offsetWidth")
    return width


@LANGUAGES
def test_a_sheet_is_asked_about_whole_units(
    client: httpx2.Client, window: Window, locale: str
) -> None:
    asked = {"model": "wide", "prime": TEXT, "length": 30, "seed": 7}
    page = window.open(client, f"/#{urlencode(asked)}", locale=locale)
    expect(page.locator(".foot .facts")).to_contain_text("30")
    head = page.locator(".alternatives .head .char").first
    widths = []
    for number, unit in enumerate(UNITS):
        point_at(page, units_before(number))
        expect(head).to_have_text(unit)
        widths.append(marked(page))
    # The mark has two pixels on each side.
    narrow = widths[0] - 4
    assert all(width - 4 > 1.4 * narrow for width in widths[1:5] + widths[6:])
    page.keyboard.press("Home")
    for unit in UNITS:
        expect(head).to_have_text(unit)
        page.keyboard.press("ArrowRight")
    for unit in reversed(UNITS):
        page.keyboard.press("ArrowLeft")
        expect(head).to_have_text(unit)


def test_what_was_written_is_joined_to_units(client: httpx2.Client, window: Window) -> None:
    asked = {"model": "wide", "prime": "a", "length": 2000, "seed": 7}
    page = window.open(client, f"/#{urlencode(asked)}")
    text = written(page)
    at = text.index(FLAG)
    fields = {"model": "wide", "prime": text[:at], "length": 1, "probabilities": 20}
    told = [
        client.post("/sample", json=fields | {"prime": text[: at + i]}, headers=JSON).json()[
            "probabilities"
        ][0]["top"]
        for i in range(2)
    ]
    both = dict(map(tuple, told[0]))[FLAG[0]] * dict(map(tuple, told[1]))[FLAG[1]]
    point_at(page, len(text[:at].encode("utf-16-le")) // 2)
    alternatives = page.get_by_role("dialog", name="Alternatives")
    expect(alternatives.locator(".head .char")).to_have_text(FLAG)
    shown = alternatives.locator(".head strong").text_content() or ""
    assert float(shown.strip("<%")) == pytest.approx(100 * both, rel=0.1, abs=0.5)
    expect(alternatives.get_by_role("button")).to_have_count(5)


JSON = {"Accept": "application/json"}


@LANGUAGES
def test_pictures_have_a_place_for_each_unit(
    client: httpx2.Client, window: Window, locale: str
) -> None:
    asked = {"model": "wide", "layer": 0, "cell": 1, "picture": "cell", "text": TEXT}
    page = window.open(client, f"/inside?{urlencode(asked)}", locale=locale)
    expect(page.locator(".facts")).to_contain_text(str(len(UNITS)))
    grid = page.locator(".grid")
    grid.focus()
    readout = page.locator(".readout strong")
    boxes = []
    for unit in UNITS:
        page.keyboard.press("ArrowRight")
        expect(readout).to_have_text(unit)
        boxes.append(
            page.locator(".grid .mark").evaluate("mark => [mark.offsetLeft, mark.offsetWidth]")
        )
    one = boxes[0][1]
    assert [width / one for _, width in boxes] == pytest.approx([1, 2, 2, 2, 2, 1, 2], abs=0.1)
    assert [left / one for left, _ in boxes] == pytest.approx([0, 1, 3, 5, 7, 9, 10], abs=0.2)

    page.locator(".inside-head > button").click()
    characters = page.locator(".present .character")
    expect(characters).to_have_count(len(UNITS))
    assert characters.locator(".letter").all_text_contents() == UNITS
    places = characters.locator(".fill").evaluate_all(
        "all => all.map(one => [one.x.baseVal.value, one.width.baseVal.value])"
    )
    assert places == [[0, 10], [10, 20], [30, 20], [50, 20], [70, 20], [90, 10], [100, 20]]
    # No letter is wider than its place.
    drawn = characters.locator(".letter").evaluate_all("all => all.map(one => one.getBBox().width)")
    assert all(letter <= place + 1 for letter, (_, place) in zip(drawn, places, strict=True))
