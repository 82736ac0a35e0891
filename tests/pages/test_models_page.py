"""Models: the list, export, import and deletion."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from models.checkpoints.history import HistoryPoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.browsing import ASCII, PHONE, Window, accessible
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
    expect(card_of(page, "toy").locator(".verdict")).to_have_text("Beats the 5-gram by 20%.")
    expect(card_of(page, "counting").locator(".verdict p")).to_have_text(
        "Not yet: the 5-gram is 25% better."
    )
    client.delete("/models/counting")


def card_of(page: Page, name: str) -> Locator:
    return page.locator(".model", has=page.get_by_role("heading", name=name, exact=True))


def cards(page: Page) -> Locator:
    return page.locator(".model h2")


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A few models that differ in everything that they are sorted by."""
    registry = Registry(tmp_path / "models")
    made = {"alpha": (2.0, 1, 3), "beta": (1.0, 3, 2), "gamma": (3.0, 2, 4)}
    for name, (loss, day, size) in made.items():
        sample: HistoryPoint = {"step": 9, "temperature": 0.8, "text": f"x\n<b>{name}</b> wrote\ny"}
        created = f"2026-01-0{day}T00:00:00Z"
        one = toy_checkpoint("lstm", 8 * size, ASCII, val_loss=loss, created_at=created)
        registry.publish(Reference(name), replace(one, history=[sample]))
    old = toy_checkpoint(vocabulary=ASCII, seed=5)
    registry.publish(Reference("beta", "step-100"), old)
    registry.publish(Reference("beta", "0" * 22), old)
    with serve(tmp_path) as client:
        yield client


def test_a_collection_is_searched_and_sorted(collection: httpx2.Client, window: Window) -> None:
    page = window.open(collection, "/models")
    expect(cards(page)).to_have_text(["alpha", "beta", "gamma"])
    expect(page.get_by_text("3 models")).to_be_visible()
    expect(card_of(page, "beta").locator(".sample-line")).to_have_text("<b>beta</b> wrote")
    orders = {
        "Newest": ["beta", "gamma", "alpha"],
        "Lowest bpc": ["beta", "alpha", "gamma"],
        "Largest": ["gamma", "alpha", "beta"],
    }
    for order, names in orders.items():
        page.get_by_label("Sort by").select_option(label=order)
        expect(cards(page)).to_have_text(names)
    page.get_by_label("Search").fill("step-1")
    expect(cards(page)).to_have_text(["beta"])
    expect(page.get_by_text("1 of 3 models")).to_be_visible()
    page.wait_for_url("**/models?search=step-1&sort=largest")
    page.reload()
    expect(cards(page)).to_have_text(["beta"])
    expect(page.get_by_label("Sort by")).to_have_value("largest")
    page.get_by_label("Search").fill("delta")
    expect(page.get_by_text("0 of 3 models")).to_be_visible()


def test_tags_are_grouped_under_their_name(collection: httpx2.Client, window: Window) -> None:
    page = window.open(collection, "/models")
    beta = card_of(page, "beta")
    expect(beta.locator(".tags li")).to_have_count(2)
    beta.get_by_text("2 other tags").click()
    expect(beta.locator(".tags")).to_contain_text("of an earlier job")
    assert accessible(page)
    beta.get_by_role("button", name="Delete beta:step-100").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(beta.locator(".tags li")).to_have_count(1)
    problem(collection.get("/models/beta:step-100"), 404)
    beta.get_by_role("button", name="Delete beta", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text(f"latest, {'0' * 22}")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(cards(page)).to_have_text(["alpha", "gamma"])


def test_notes_and_pins_are_there_in_another_browser(
    collection: httpx2.Client, window: Window
) -> None:
    page = window.open(collection, "/models")
    page.get_by_role("button", name="Pin gamma").click()
    expect(cards(page)).to_have_text(["gamma", "alpha", "beta"])
    expect(page.get_by_role("button", name="Pin gamma")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Notes alpha").click()
    dialog = page.get_by_role("dialog", name="Notes on alpha")
    dialog.get_by_role("textbox").fill("For the class.\n<img src=x onerror=hit()>")
    dialog.get_by_role("button", name="Save").click()
    there = window.open(collection, "/models", viewport=PHONE)
    expect(cards(there)).to_have_text(["gamma", "alpha", "beta"])
    expect(card_of(there, "alpha").locator(".notes")).to_have_text(
        "For the class.\n<img src=x onerror=hit()>"
    )
    there.get_by_label("Search").fill("CLASS")
    expect(cards(there)).to_have_text(["alpha"])
    there.get_by_role("button", name="Notes alpha").click()
    there.get_by_role("textbox", name="Notes").fill("")
    there.get_by_role("button", name="Save").click()
    expect(cards(there)).to_have_count(0)
    assert collection.get("/models/alpha").json()["notes"] == ""


def test_a_model_is_renamed(collection: httpx2.Client, window: Window) -> None:
    window.expected.append("409")
    page = window.open(collection, "/models")
    for new in ("alpha", "delta"):
        page.get_by_role("button", name="Rename beta").click()
        dialog = page.get_by_role("dialog", name="Rename beta")
        dialog.get_by_label("Name").fill(new)
        dialog.get_by_role("button", name="Rename").click()
        if new == "alpha":
            expect(page.locator(".message.problem")).to_contain_text("The name alpha is taken")
    expect(page.get_by_text("beta is delta now.")).to_be_visible()
    expect(cards(page)).to_have_text(["alpha", "delta", "gamma"])
    expect(card_of(page, "delta")).to_contain_text("2 other tags")
    assert collection.get("/models/delta:step-100").status_code == 200


def test_several_are_deleted_at_once(collection: httpx2.Client, window: Window) -> None:
    page = window.open(collection, "/models")
    for name in ("alpha", "beta"):
        page.get_by_label(f"Select {name}").check()
    # Whatever is searched for meanwhile.
    page.get_by_label("Search").fill("a")
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Delete selected").click()
    dialog = page.get_by_role("dialog", name="Delete 2 models?")
    expect(dialog).to_contain_text("all tags of alpha, beta")
    dialog.get_by_role("button", name="Delete").click()
    expect(cards(page)).to_have_text(["gamma"])
    expect(page.locator(".bulk")).to_be_hidden()
    assert [one["model"] for one in collection.get("/models").json()["models"]] == ["gamma"]


def test_a_model_that_has_not_won_is_trained_on(tmp_path: Path, window: Window) -> None:
    """Its job is resumed with limits that leave it three minutes more."""
    baseline = {"ngram_order": 5, "val_loss": 1.5, "bpc": 2.16}
    with serve(tmp_path) as client:
        options = "hidden_size=8&num_layers=1&max_seconds=5&max_steps=40"
        job = client.post(f"/train?model=mine&{options}", content=TEXT).json()["id"]
        client.post(f"/jobs/{job}/cancel")
        checkpoint = toy_checkpoint(vocabulary=ASCII, baseline=baseline, job_id=job)
        Registry(tmp_path / "models").publish(Reference("mine"), checkpoint)
        Registry(tmp_path / "models").publish(
            Reference("lost"), toy_checkpoint(vocabulary=ASCII, baseline=baseline, job_id="0" * 22)
        )
        window.expected.append("404")
        page = window.open(client, "/models")
        card_of(page, "lost").get_by_role("button", name="Train 3 more minutes").click()
        expect(page.locator(".message.problem")).to_contain_text(
            "The job that trained lost is gone"
        )
        card_of(page, "mine").get_by_role("button", name="Train 3 more minutes").click()
        page.wait_for_url(f"**/train/{job}")
        resumed = client.get(f"/jobs/{job}").json()
        assert resumed["status"] == "queued"
        assert resumed["options"]["max_seconds"] == 180 and resumed["options"]["max_steps"] == 80
        # It would ask for the job again once the server is gone.
        page.goto("about:blank")


def test_the_shipped_models_are_marked(collection: httpx2.Client, window: Window) -> None:
    def change(route: Route) -> None:
        models = route.fetch().json()
        models["models"][0]["pretrained"] = True
        route.fulfill(json=models)

    page = window.open(collection, "/")
    page.route("**/models?*", change)
    page.goto("/models")
    expect(page.get_by_text("shipped", exact=True)).to_have_count(1)
    expect(card_of(page, "alpha")).to_contain_text("shipped")
    page.get_by_label("Search").fill("shipped")
    expect(cards(page)).to_have_text(["alpha"])


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
