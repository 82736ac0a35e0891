"""Names: the widget with its settings, and the HTML that embeds it."""

import re

import httpx2
from playwright.sync_api import expect

from tests.browsing import Window


def test_names_as_they_are_wanted(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/names")
    names = page.locator("charloom-names li")
    expect(names).to_have_count(24)
    page.get_by_label("Starts with").fill("k")
    page.get_by_label("How many").fill("3")
    expect(names).to_have_count(3)
    expect(page.locator("charloom-names li", has_text=re.compile("^k"))).to_have_count(3)
    snippet = page.locator("pre code").text_content() or ""
    assert 'starts-with="k"' in snippet and "/widget/charloom-names.js" in snippet
