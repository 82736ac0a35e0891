"""Styles on the pages: chosen and mixed on Write, made on Train."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import expect

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.browsing import ASCII, Window, accessible, of_a_list, written
from tests.serving import TEXT, serve
from tests.toys import in_styles, toy_checkpoint


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    plain = toy_checkpoint(vocabulary=ASCII)
    registry.publish(Reference("authors"), in_styles(plain, "austen", "lovecraft"))
    registry.publish(Reference("plain"), plain)
    registry.publish(Reference("elves"), in_styles(of_a_list(), "austen", "lovecraft"))
    with serve(data) as client:
        yield client


def sample(client: httpx2.Client, **fields: str | int | float) -> str:
    asked = {"model": "authors", "seed": 7, "length": 120, "temperature": 0.8} | fields
    return client.post("/sample", json=asked).text


def test_a_style_and_a_mix_are_chosen_and_stand_in_the_link(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/#model=authors&seed=7&length=120")
    assert written(page) == sample(client)
    choice = page.get_by_label("Style")
    expect(choice.get_by_role("option")).to_have_text(
        ["what they share", "austen", "lovecraft", "a mix …"]
    )
    choice.select_option("lovecraft")
    expect(page.get_by_role("group", name="The text")).to_have_text(
        sample(client, style="lovecraft"), use_inner_text=True
    )
    assert "style=lovecraft" in page.url
    choice.select_option(label="a mix …")
    slider = page.get_by_role("slider", name="Share of austen")
    slider.fill("75")
    page.get_by_role("slider", name="Share of lovecraft").fill("25")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "74 %")
    mixed = sample(client, style="austen:75,lovecraft:26")
    expect(page.get_by_role("group", name="The text")).to_have_text(mixed, use_inner_text=True)
    assert mixed not in (sample(client), sample(client, style="lovecraft"))
    accessible(page)
    page.reload()
    assert written(page) == mixed
    expect(page.get_by_role("slider", name="Share of lovecraft")).to_have_value("26")
    page.get_by_label("Model").select_option("plain")
    expect(choice).to_be_hidden()
    assert written(page) == sample(client, model="plain")
    assert "style" not in page.url


def test_files_become_styles_where_that_is_asked(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    other = "Once upon a midnight dreary, while I pondered\n" * 60
    files = [tmp_path / "austen.txt", tmp_path / "poe.txt"]
    for file, text in zip(files, (TEXT, other), strict=True):
        file.write_text(text)
    page = window.open(client, "/train")
    page.locator("#corpus-file").set_input_files(files)
    switch = page.get_by_label("Tell the texts apart, as the styles austen, poe")
    expect(switch).not_to_be_checked()
    switch.check()
    accessible(page)
    page.get_by_label("Name of the model").fill("both")
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**/train/*")
    job = client.get("/jobs", params={"model": "both"}).json()["jobs"][0]
    assert job["options"]["styles"] == f"austen:{len(TEXT) + 1},poe:{len(other)}"


def test_a_page_of_its_own_writes_in_a_style(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    saved = client.get("/models/authors/download", params={"format": "html", "precision": "exact"})
    file = tmp_path / "authors.html"
    file.write_bytes(saved.content)
    window.expected.append("asked file://")
    page = window.open(client, file.as_uri())
    for name, value in (("length", 60), ("seed", 7), ("temperature", 0.8)):
        page.locator(f"[name={name}]").fill(str(value))
    write = page.get_by_role("button", name="Write", exact=True)
    expect(write).to_be_enabled()
    page.evaluate("isWriting && form.requestSubmit()")
    write.click()
    for style in ("lovecraft", "austen", ""):
        page.get_by_label("Style").select_option(style)
        fields = {"style": style} if style else {}
        expected = sample(client, length=60, precision="exact", **fields)
        expect(page.locator("#text")).to_have_text(expected, use_inner_text=True)


def test_names_are_drawn_in_a_style(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/names")
    page.get_by_label("Model").select_option("elves")
    page.get_by_label("Style").select_option("lovecraft")
    expect(page).to_have_url(re.compile("style=lovecraft"))
    html = page.get_by_role("region", name="HTML to embed the names", exact=True)
    expect(html).to_contain_text('in-style="lovecraft"')
    accessible(page)


def test_a_text_is_read_in_a_style_on_inside(client: httpx2.Client, window: Window) -> None:
    text, layer, cell = "It was a dark and stormy night", 0, 3

    def last(style: str) -> str:
        asked = {"text": text, "layer": layer, "cells": [cell]} | (
            {"style": style} if style else {}
        )
        told = client.post("/models/authors/inspect", json=asked).json()["characters"]
        return f"activation {told[-1]['activations'][0]:.2f}"

    assert len({last(style) for style in ("", "austen", "lovecraft")}) == 3
    page = window.open(
        client, f"/inside?model=authors&layer={layer}&cell={cell}&style=austen&text={quote(text)}"
    )
    grid = page.get_by_role("group", name="The text as the network sees it")
    choice, readout = page.get_by_label("Style"), page.locator(".readout")
    expect(choice).to_have_value("austen")
    expect(page.locator(".facts")).to_contain_text(f"{len(text)} characters")
    for style in ("austen", "lovecraft", ""):
        choice.select_option(style)
        expect(page.locator("[aria-busy]")).to_have_count(0)
        grid.focus()
        page.keyboard.press("End")
        expect(readout).to_contain_text(last(style))
        expect(page).to_have_url(re.compile(f"style={style}" if style else "^((?!style=).)*$"))
