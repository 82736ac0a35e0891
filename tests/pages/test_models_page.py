"""Models: the list, export, import and deletion."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Locator, Route, expect

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.browsing import ASCII, Window
from tests.forgery import plant
from tests.serving import TEXT, problem, serve
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


def test_a_card_says_what_is_counted_and_who_won(
    client: httpx2.Client, toys: Path, window: Window
) -> None:
    baseline = {"ngram_order": 5, "val_loss": 1.5, "bpc": 2.16}
    counting = toy_checkpoint(vocabulary=ASCII, orders=3, baseline=baseline)
    Registry(toys / "models").publish(Reference("counting"), counting)
    megabytes = counting.config.table_bytes() / 1e6
    page = window.open(client, "/models")

    def figure(model: str, label: str) -> Locator:
        heading = page.get_by_role("heading", name=model, exact=True)
        card = page.locator(".model", has=heading)
        return card.locator(".figures div", has=page.get_by_text(label, exact=True))

    table = figure("counting", "n-gram table")
    expect(table).to_contain_text("contexts of up to 3 characters")
    expect(table).to_contain_text(re.compile(rf"{1000 * megabytes:.3g} kB"))
    expect(figure("toy", "n-gram table")).to_have_count(0)
    # Losses of 2.0 nats.
    expect(figure("toy", "5-gram")).to_contain_text("the network is 20% better")
    expect(figure("counting", "5-gram")).to_contain_text("the n-gram model is 25% better")
    client.delete("/models/counting")


ODD: list[dict[str, Any]] = [
    {"created_at": "x"},
    {"created_at": "+275761-01-01T00:00:00.000Z", "job_id": ["a"]},
    {"created_at": 5, "val_loss": "low", "bpc": {}, "baseline": {"bpc": [1]}},
    {"corpus": {"characters": {}, "tokens": 5}, "precision": [1], "pretrained": "yes"},
]


def test_cards_that_are_wrong_are_shown_and_can_be_deleted(
    client: httpx2.Client, toys: Path, window: Window
) -> None:
    """As earlier releases imported them. The others are there as ever."""
    registry = Registry(toys / "models")
    for number, card in enumerate(ODD):
        odd = Reference(f"odd-{number}")
        registry.publish(odd, toy_checkpoint(vocabulary=ASCII))
        plant(registry, odd, "card.json", json.dumps(card).encode())
    page = window.open(client, "/models")
    expect(page.locator(".model")).to_have_count(3 + len(ODD))
    expect(page.get_by_role("heading", name="toy", exact=True)).to_be_visible()
    for number in range(len(ODD)):
        page.get_by_role("button", name=f"Delete odd-{number}").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.locator(".model")).to_have_count(2 + len(ODD) - number)


def test_one_that_cannot_be_drawn_takes_no_other_with_it(
    client: httpx2.Client, toys: Path, window: Window
) -> None:
    """What our server would never send, but one of another release might."""
    Registry(toys / "models").publish(Reference("odd"), toy_checkpoint(vocabulary=ASCII))

    def change(route: Route) -> None:
        models = route.fetch().json()
        for model in models["models"]:
            if model["name"] == "odd":
                model |= {"config": None, "created_at": {}, "tags": None}
        route.fulfill(json=models)

    window.expected.append("num_layers")
    page = window.open(client, "/")
    page.route("**/models?*", change)
    page.goto("/models")
    expect(page.locator(".model")).to_have_count(4)
    expect(page.get_by_text("The figures of this model cannot be shown.")).to_have_count(1)
    page.get_by_role("button", name="Delete odd").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".model")).to_have_count(3)


def test_a_date_that_is_none_is_a_dash(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/")
    script = """async (dates) => {
        const source = document.querySelector('script[type="module"]').src;
        const { when } = await import(new URL("ui.js", source));
        return dates.map((date) => when(date).textContent);
    }"""
    wrong: list[Any] = ["x", "", "+275761-01-01T00:00:00Z", None, 5, {}, [], True]
    assert page.evaluate(script, wrong) == ["–"] * len(wrong)
    [shown] = page.evaluate(script, ["2001-02-03T04:05:06.000Z"])
    assert "2001" in shown


def test_damaged_models_and_jobs_are_shown_and_removed(tmp_path: Path, window: Window) -> None:
    registry = Registry(tmp_path / "models")
    registry.publish(Reference("toy"), toy_checkpoint(vocabulary=ASCII))
    newest = registry.publish(Reference("toy"), toy_checkpoint(vocabulary=ASCII, seed=1))
    lost = registry.publish(Reference("lost"), toy_checkpoint(vocabulary=ASCII))
    for model, digest in (("toy", newest), ("lost", lost)):
        (registry.root / model / digest / "card.json").write_bytes(b"")
    with serve(tmp_path) as client:
        page = window.open(client, "/models")
        toy = page.locator(".model", has=page.get_by_role("heading", name="toy"))
        expect(toy).to_contain_text("The newest checkpoint is damaged: card.json is damaged")
        damaged = page.locator(".model", has=page.get_by_role("heading", name="lost"))
        expect(damaged).to_contain_text("Damaged: lost:latest: card.json is damaged")
        page.get_by_role("button", name="Delete lost").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(damaged).to_have_count(0)
        job_id = client.post("/train?model=one", content=TEXT).json()["id"]
        (tmp_path / "jobs" / job_id / "spec.json").write_bytes(b"{")
        page = window.open(client, "/train")
        page.get_by_role("link", name=job_id).click()
        expect(page.locator(".message.problem")).to_contain_text(
            "Damaged. spec.json is not valid JSON."
        )
        expect(page.get_by_role("button", name="Resume")).to_be_hidden()
        # What it published is not known, though its events say that it did.
        expect(page.get_by_text("Nats per character")).to_be_visible()
        expect(page.get_by_role("link", name="Write").and_(page.locator(".primary"))).to_be_hidden()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("None yet.").first).to_be_visible()
        assert client.get("/jobs").json()["jobs"] == []
