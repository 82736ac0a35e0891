"""Models: the list, export, import and deletion."""

import re
from pathlib import Path

import httpx2
from playwright.sync_api import expect

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.browsing import ASCII, Window
from tests.serving import problem
from tests.toys import toy_checkpoint


def test_a_model_goes_out_and_comes_in(
    client: httpx2.Client, window: Window, tmp_path: Path
) -> None:
    page = window.open(client, "/models")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download toy").click()
    assert download.value.suggested_filename == "toy.zip"
    download.value.save_as(tmp_path / "Taken Away.zip")
    page.set_input_files("#model-file", tmp_path / "Taken Away.zip")
    dialog = page.get_by_role("dialog", name="Import a model")
    expect(dialog.get_by_label("Name")).to_have_value("taken-away")
    dialog.get_by_role("button", name="Import").click()
    expect(page.get_by_text("taken-away has been imported.")).to_be_visible()
    expect(page.get_by_role("heading", name="taken-away", exact=True)).to_be_visible()
    same = [client.get(f"/models/{name}").json()["parameters"] for name in ("toy", "taken-away")]
    assert same[0] == same[1]
    (tmp_path / "nonsense.zip").write_bytes(b"PK")
    window.expected.append("422")
    page.set_input_files("#model-file", tmp_path / "nonsense.zip")
    dialog.get_by_role("button", name="Import").click()
    expect(page.locator(".message.problem")).to_contain_text("zip")
    client.delete("/models/taken-away")


def test_models_and_their_end(client: httpx2.Client, toys: Path, window: Window) -> None:
    Registry(toys / "models").publish(Reference("unloved"), toy_checkpoint(vocabulary=ASCII))
    page = window.open(client, "/models")
    expect(page.locator(".model")).to_have_count(4)
    toy = page.locator(".model", has=page.get_by_role("heading", name="toy", exact=True))
    expect(toy).to_contain_text("5-gram")
    expect(toy.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("Loss over 190 steps")
    )
    page.get_by_role("button", name="Delete unloved").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator(".model")).to_have_count(4)
    page.get_by_role("button", name="Delete unloved").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".model")).to_have_count(3)
    problem(client.get("/models/unloved"), 404)
