"""Train: what the corpus doctor says of a text."""

import httpx2
from playwright.sync_api import expect

from tests.browsing import Window


def test_the_doctor_speaks_before_anything_is_trained(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train")
    latin = ("Das Fr\u00fchst\u00fcck war sch\u00f6n. " * 20).encode("latin-1")
    page.set_input_files(
        "#corpus-file", {"name": "B\u00fccher.txt", "mimeType": "text/plain", "buffer": latin}
    )
    expect(page.locator(".report .warning").first).to_contain_text("UTF-8")
    expect(page.get_by_label("Name of the model")).to_have_value("bu-cher")
    page.get_by_text("Options").click()
    expect(page.get_by_label("Read as")).to_have_value("bytes")
