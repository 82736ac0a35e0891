"""A model as one HTML file: from the disk, without a network, it writes as the server does."""

import functools
import http.server
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from app.engine.portable import PageFacts, portable_page
from app.http.language import in_language
from app.http.static_files import STATIC
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.inside.reader import trace
from models.pretrained import unpack
from tests.browsing import ASCII, Window, accessible, sample, site_of
from tests.japanese import left_in_english
from tests.serving import eventually, serve
from tests.support import ROOT
from tests.toys import BYTES, toy_checkpoint

SHIPPED = ("linux", "names", "shakespeare")

EVIL = "</script><script>hit()</script><!--<script><img src=x onerror=hit()>{{page}}"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each model that ships."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in SHIPPED:
        directory = ROOT / "pretrained" / name
        findings = json.loads((directory / "cells.json").read_text("utf-8"))
        facts = PageFacts(name, "0" * 64, "1.0", findings, partial(in_language, "ja"))
        (folder / f"{name}.html").write_bytes(portable_page(unpack(directory), facts))
    return folder


def save(client: httpx2.Client, model: str, folder: Path) -> Path:
    answer = client.get(f"/models/{model}/download?format=html")
    assert answer.status_code == 200, answer.text
    path = folder / f"{model}.html"
    path.write_bytes(answer.content)
    return path


def from_disk(window: Window, file: Path, *, seed: str = "seed", **options: Any) -> Page:
    """Opens a file in a browser without a network, and has it stop what it writes unasked.

    ``seed`` is the page's word for it.
    """
    window.expected.append("asked file://")
    server = httpx2.Client(base_url="http://127.0.0.1:1")
    page = window.open(server, "about:blank", offline=True, **options)
    page.goto(file.as_uri())
    expect(page.locator("#facts")).to_contain_text(seed)
    page.evaluate("isWriting && form.requestSubmit()")
    done(page, seed)
    return page


def done(page: Page, seed: str = "seed") -> None:
    """Waits for the end of what is being written."""
    expect(page.locator("#write")).to_be_enabled()
    # Its policy lets nothing wait within the page.
    assert eventually(lambda: not page.evaluate("isWriting"))
    expect(page.locator("#facts")).to_contain_text(seed)


def write(page: Page, **fields: Any) -> str:
    """What the page writes, the prime included."""
    page.evaluate("form.elements.way.value = 'text', showWay()")
    for name, value in fields.items():
        page.locator(f"[name={name}]").fill(str(value))
    page.get_by_role("button", name="Write", exact=True).click()
    done(page)
    text: str = page.locator("#text").evaluate("(text) => text.textContent")
    return text


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_say_what_the_server_says(shipped: Path, window: Window, name: str) -> None:
    """Within the promised thousandth, on what they write themselves; and they fit into 4 MB."""
    assert (shipped / f"{name}.html").stat().st_size <= 4_000_000
    page = from_disk(window, shipped / f"{name}.html")
    text = write(page, length=400, seed=3, temperature=1)
    written: list[float] = page.evaluate("state.characters.map((one) => one.probability)")
    exact = np.exp(-trace(unpack(ROOT / "pretrained" / name), text).losses)
    assert len(written) == 400
    assert np.abs(np.array(written) - exact).max() < 1e-3


def test_twenty_names_without_a_network(shipped: Path, window: Window) -> None:
    page = from_disk(window, shipped / "names.html")
    names = page.locator("#names li")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(names).to_have_count(20)
    page.get_by_label("Starts with").fill("Ka")
    page.get_by_label("Shortest").fill("5")
    page.get_by_label("Longest").fill("8")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(names).to_have_count(20)
    found = names.all_text_contents()
    assert all(name.startswith("Ka") and 5 <= len(name) <= 8 for name in found)
    assert len(set(found)) == 20
    known = "Karen"
    hashes = unpack(ROOT / "pretrained" / "names").lines
    assert len(hashes) and known not in found
    page.get_by_label("Only names not in its list").uncheck()
    page.get_by_label("Starts with").fill("Karen")
    page.get_by_label("Longest").fill("5")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.locator("#names li.known")).to_have_text(["Karen"])
    expect(page.locator("#facts")).to_contain_text("there seem to be no more")


def test_the_same_names_and_text_as_the_server(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    """A seed is a seed here too, until rounding parts the ways."""
    page = from_disk(window, save(client, "list", tmp_path))
    query: dict[str, Any] = {"model": "list", "count": 9, "seed": 11, "max_length": 12}
    query |= {"pattern": "n*?n"}
    fields = {"count": 9, "seed": 11, "maxLength": 12, "temperature": 1, "pattern": "n*?n"}
    for name, value in fields.items():
        page.locator(f"[name={name}]").fill(str(value))
    page.get_by_label("Only names not in its list").uncheck()
    page.get_by_role("button", name="Write", exact=True).click()
    names = [one["name"] for one in client.get("/names", params=query).json()["names"]]
    expect(page.locator("#names li")).to_have_text(names)
    assert write(page, prime="ka", length=60, seed=7, temperature=0.8) == "ka" + sample(
        client, model="list", prime="ka", length=60, precision="exact"
    )


def test_alternatives_lead_to_other_texts(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    page = from_disk(window, save(client, "toy", tmp_path))
    text = write(page, prime="Ka", length=150, seed=7)
    page.locator("#text span").nth(40).click()
    alternatives = page.get_by_role("dialog", name="Alternatives")
    expect(alternatives.get_by_role("button")).to_have_count(5)
    other: str = page.evaluate("state.characters[40].top[1][0]")
    alternatives.get_by_role("button").nth(1).click()
    done(page)
    branched: str = page.locator("#text").evaluate("(text) => text.textContent")
    assert branched[:41] == text[:40] + other
    assert len(branched) == 41 + 150
    page.locator("#text").press("ArrowRight")
    expect(alternatives).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#heard")).to_contain_text("given, not written")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("3")
    done(page)
    expect(page.locator("#text .prime")).to_have_count(42)


def test_a_text_stops_where_it_is_asked_to(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    page = from_disk(window, save(client, "toy", tmp_path))
    whole = write(page, length=300, seed=5)
    stop = whole[60:62]
    assert write(page, length=300, seed=5, stop=stop) == whole[: whole.index(stop)]
    line_end = write(page, length=300, seed=5, stop="\\n")
    assert line_end == (whole + "\n")[: (whole + "\n").index("\n")]
    page.locator("[name=stop]").fill("")
    page.locator("[name=length]").fill("20000")
    page.get_by_role("button", name="Write", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).click()
    done(page)
    stopped = page.locator("#text span").count()
    assert stopped < 20_000
    assert write(page, length=10, seed=5) == whole[:10]


def test_the_colours_of_a_cell(client: httpx2.Client, window: Window, tmp_path: Path) -> None:
    page = from_disk(window, save(client, "toy", tmp_path))
    text = write(page, prime="The ", length=60, seed=1)
    page.get_by_role("radio", name="A cell").check()
    page.get_by_label("Layer").fill("2")
    page.get_by_label("Cell", exact=True).fill("5")
    asked = {"text": text, "layer": 1, "cells": [5]}
    read = client.post("/models/toy/inspect", json=asked).json()["characters"]
    exact = [one["activations"][0] for one in read]
    close = (
        "(exact) => state.characters.every((one, i) => Math.abs(one.activation - exact[i]) < 0.01)"
    )
    assert eventually(lambda: page.evaluate(close, exact))
    assert page.locator("#text span").nth(3).evaluate("(span) => span.style.background")
    page.get_by_role("radio", name="Surprise").check()
    first, last = (page.locator("#text span").nth(at) for at in (0, 63))
    assert first.evaluate("(span) => span.style.background") == ""
    assert "guess" in last.evaluate("(span) => span.style.background")
    page.get_by_role("radio", name="Plain").check()
    assert last.evaluate("(span) => span.style.background") == ""


def test_found_cells_are_offered(shipped: Path, window: Window) -> None:
    page = from_disk(window, shipped / "names.html")
    page.get_by_role("radio", name="Text").check()
    page.get_by_role("radio", name="A cell").check()
    page.get_by_label("One that tracks").select_option("after a vowel")
    expect(page.get_by_label("Layer")).to_have_value("2")
    expect(page.get_by_label("Cell", exact=True)).to_have_value("147")
    assert accessible(page)


def test_the_page_is_in_the_browsers_language(shipped: Path, window: Window) -> None:
    for name, what in {"names": "個の名前", "shakespeare": "文字"}.items():
        page = from_disk(window, shipped / f"{name}.html", locale="ja-JP", seed="シード")
        expect(page.locator("html")).to_have_attribute("lang", "ja")
        expect(page.locator("#facts")).to_contain_text(what)
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.locator("details").evaluate("(details) => { details.open = true }")
        assert left_in_english(page) == []
        assert accessible(page)
    page.get_by_label("書き出し").fill("日")
    page.get_by_role("button", name="書く", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("モデルの知らない文字です")


def test_what_a_model_brings_is_text(window: Window, tmp_path: Path) -> None:
    """Its card and its symbols come from whoever made it."""
    evil = toy_checkpoint(vocabulary=ASCII, licence=EVIL, provenance=EVIL, created_at=EVIL)
    Registry(tmp_path / "models").publish(Reference("evil"), evil)
    with serve(tmp_path) as server:
        file = save(server, "evil", tmp_path)
    page = from_disk(window, file)
    assert page.locator("script").count() == 3 and page.locator("img").count() == 0
    facts = page.locator("footer")
    expect(facts.get_by_text(EVIL)).to_have_count(2)
    assert write(page, prime=EVIL, length=5).startswith(EVIL)
    page.get_by_role("radio", name="Surprise").check()
    page.locator("#text span").nth(1).click()
    expect(page.get_by_role("dialog", name="Alternatives")).to_contain_text("given")
    # Even if something got through, nothing of it would run, and nothing would leave the page.
    window.expected += ["Content Security Policy", "Failed to fetch"]
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert()>')")
    left = page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')")
    assert left == "refused"


def test_what_makes_no_sense_is_said(client: httpx2.Client, window: Window, tmp_path: Path) -> None:
    page = from_disk(window, save(client, "list", tmp_path))
    page.get_by_label("Starts with").fill("Zß")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("The model does not know Z ß")
    page.get_by_label("Shortest").fill("9")
    page.get_by_label("Longest").fill("6")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("must not be longer than the longest")
    page.get_by_label("Shortest").fill("")
    page.get_by_role("radio", name="Text").check()
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_label("Begins with").fill("É")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("The model does not know É")


def test_bytes_are_characters_once_they_are_complete(window: Window, tmp_path: Path) -> None:
    Registry(tmp_path / "models").publish(Reference("raw"), toy_checkpoint(vocabulary=BYTES))
    with serve(tmp_path) as server:
        page = from_disk(window, save(server, "raw", tmp_path))
        text = write(page, prime="Aあ", length=200, seed=7, temperature=1)
        assert text == "Aあ" + sample(
            server, model="raw", prime="Aあ", length=200, temperature=1, precision="exact"
        )
    page.get_by_role("radio", name="A cell").check()
    told = "state.characters.every(({ activation }) => activation !== undefined)"
    assert eventually(lambda: page.evaluate(told))


@contextmanager
def static_site(folder: Path) -> Iterator[str]:
    """The origin of a site of files, with nothing behind it."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with site_of(handler) as origin:
        yield origin


SITE = """<!doctype html><title>Names</title><link rel="icon" href="data:,">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<script type="module" src="charloom-names.js"></script>
<charloom-names src="{file}" count="6" seed="3" starts-with="k" contains="i"
  ends-with="n" pattern="*??*" novel></charloom-names>"""
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:"


def test_names_on_a_static_site(client: httpx2.Client, window: Window, tmp_path: Path) -> None:
    """Three files and no server of ours; with a strict policy, and one that is too strict."""
    save(client, "list", tmp_path)
    save(client, "toy", tmp_path)
    shutil.copy(STATIC / "widget" / "charloom-names.js", tmp_path)
    allowed = f"{POLICY}; worker-src blob:"
    for name, policy, file in (
        ("index", allowed, "list.html"),
        ("strict", POLICY, "list.html"),
        ("prose", allowed, "toy.html"),
        ("lost", allowed, "nothing.html"),
    ):
        (tmp_path / f"{name}.html").write_text(SITE.format(policy=policy, file=file))
    with static_site(tmp_path) as origin:
        page = window.open(httpx2.Client(base_url=origin), "/index.html")
        names = page.locator("charloom-names li")
        expect(names).to_have_count(6)
        query = {"model": "list", "count": "6", "seed": "3", "starts_with": "k", "novel": "true"}
        query |= {"contains": "i", "ends_with": "n", "pattern": "*??*"}
        answer = client.get("/names", params=query).json()
        assert names.all_text_contents() == [name["name"] for name in answer["names"]]
        page.locator("charloom-names").evaluate("(e) => e.setAttribute('count', '2')")
        expect(names).to_have_count(2)
        page.locator("charloom-names").evaluate("(e) => e.setAttribute('starts-with', 'ß')")
        status = page.locator("charloom-names [part=status]")
        expect(status).to_contain_text("No name here has ß in it.")
        window.expected += ["worker", "404", "charloom-names:"]
        told: list[str] = []
        page.on("console", lambda m: told.append(m.text))
        page.goto("/strict.html")
        expect(status).to_contain_text("not set up for this page yet")
        page.goto("/prose.html")
        expect(status).to_contain_text("not set up for this page yet")
        assert any("needs worker-src blob:" in one for one in told)
        assert any("its model was not trained on a list" in one for one in told)
        page.goto("/lost.html")
        expect(status).to_contain_text("unavailable right now")


def test_the_button_saves_a_page(client: httpx2.Client, window: Window, tmp_path: Path) -> None:
    page = window.open(client, "/models")
    with page.expect_download() as download:
        page.get_by_role("button", name="As a page toy").click()
    assert download.value.suggested_filename == "toy.html"
    download.value.save_as(tmp_path / "toy.html")
    saved = from_disk(window, tmp_path / "toy.html")
    expect(saved.get_by_role("heading", name="toy", exact=True)).to_be_visible()
    assert json.loads(saved.locator("#model").text_content() or "")["model"] == "toy"
