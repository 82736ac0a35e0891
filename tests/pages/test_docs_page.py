"""The API page in a real browser: what it tells, and a call that is made from it."""

import httpx2
from playwright.sync_api import expect

from tests.browsing import PHONE, Window, accessible, link, sample, written


def test_an_endpoint_is_read_and_tried(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, link())
    text = written(page)
    page.get_by_role("link", name="API", exact=True).click()
    page.get_by_role("searchbox", name="Find").fill("plain text chunks")
    expect(page.locator(".endpoint:visible")).to_have_count(1)
    page.locator(".contents a:visible").click()
    endpoint = page.locator("#get-sample[open]")
    for name, value in {"model": "toy", "length": "80", "seed": "7", "prime": "Ka"}.items():
        endpoint.get_by_label(name, exact=True).fill(value)
    curl = endpoint.get_by_role("group", name="The call, for a shell")
    base = str(client.base_url).rstrip("/")
    expect(curl).to_contain_text(f"curl -N '{base}/sample?model=toy&prime=Ka&length=80&seed=7'")
    endpoint.get_by_role("button", name="Send").click()
    expect(endpoint.get_by_role("status")).to_contain_text("200 OK · 80 bytes")
    answer = endpoint.get_by_role("group", name="The answer")
    written_text = sample(client, prime="Ka", temperature=1, length=80)
    assert answer.evaluate("pre => pre.textContent") == written_text
    assert accessible(page)
    # The text on the first page is still there.
    page.get_by_role("link", name="Write", exact=True).click()
    assert written(page) == text


def test_all_of_it_is_accessible(client: httpx2.Client, window: Window) -> None:
    page = window.open(
        client, "/docs#post-train", color_scheme="dark", viewport=PHONE, reduced_motion="reduce"
    )
    page.locator("#post-train[open] .answers").wait_for()
    for anchor in ("get-models-model-history", "post-v1-chat-completions", "delete-models-model"):
        page.locator(f"#{anchor} > summary").click()
        for fields in page.locator(f"#{anchor} .fields > summary").all():
            fields.click()
    assert accessible(page)
    # Nothing is cut off at the right.
    rights = "all => Math.max(...all.map(one => one.getBoundingClientRect().right))"
    widest = page.locator(".endpoint :is(input, select, textarea, pre, p, dl)").evaluate_all(rights)
    assert widest <= PHONE["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    # What cannot be undone is asked twice.
    endpoint = page.locator("#delete-models-model")
    expect(endpoint.get_by_label("model", exact=True)).to_have_value("")
    endpoint.get_by_label("model", exact=True).fill("toy")
    endpoint.get_by_role("button", name="Send").click()
    page.get_by_role("dialog", name="Delete it?").get_by_role("button", name="Cancel").click()
    assert client.get("/models/toy").status_code == 200
