"""Train: what the corpus doctor says of a text."""

import gzip
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import expect

from tests.browsing import Window, accessible
from tests.serving import serve
from worker import vitals
from worker.gpus import Gpu
from worker.queue import Queue
from worker.vitals import Vitals


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


def test_a_file_that_is_no_text_is_named_and_cannot_be_trained_on(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train")
    start = page.get_by_role("button", name="Train", exact=True)
    packed = gzip.compress(b"It was the best of times, it was the worst of times.\n" * 9)
    files = {
        "a.png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200), "It is an image"),
        "a.txt.gz": (packed, "it is a gzip file: unpack it first"),
    }
    for name, (data, words) in files.items():
        page.set_input_files(
            "#corpus-file", {"name": name, "mimeType": "text/plain", "buffer": data}
        )
        expect(page.locator(".report .warning")).to_have_count(1)
        expect(page.locator(".report .warning")).to_contain_text(words, ignore_case=True)
        expect(start).to_be_disabled()
        page.get_by_role("button", name="Another text").click()
    # The server agrees.
    refused = client.post("/train", params={"model": "noise"}, content=packed)
    assert refused.status_code == 422 and "a gzip file" in refused.json()["detail"]


def test_utf_16_gets_one_warning(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/train")
    wide = "".join(f"{n} green bottles, hanging on the wall\n" for n in range(999))
    page.set_input_files(
        "#corpus-file",
        {"name": "wide.txt", "mimeType": "text/plain", "buffer": wide.encode("utf-16-le")},
    )
    expect(page.locator(".report .warning")).to_have_count(1)
    expect(page.locator(".report .warning")).to_contain_text("iconv -f UTF-16LE -t UTF-8")


def test_gpus_of_workers_are_shown_and_what_is_wrong_with_one(
    data: Path, redis_url: str, queue: Queue, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "SILENCE", 600)
    gpu = Gpu("GPU-1", "0", "NVIDIA H200", 150_754_820_096, 3_221_225_472, 0.97, 61, 512.4)
    queue.vitals.tell("1", Vitals("loom", gpus=[gpu]))
    with serve(data, redis_url) as server:
        page = window.open(server, "/names")
        page.clock.install()
        page.get_by_role("link", name="Train", exact=True).click()
        shown = page.get_by_role("region", name="GPUs")
        expect(shown.get_by_role("listitem")).to_have_text(
            "0: NVIDIA H2003.22 GB of 151 GB used · 97% busy · 61 °C · 512 W"
        )
        assert accessible(page)
        queue.vitals.tell("1", Vitals("loom", "No CUDA GPUs are available"))
        page.clock.fast_forward(5000)
        expect(shown).to_contain_text(
            "A worker on loom waits for its GPU and takes no job: No CUDA GPUs are available."
        )
        queue.vitals.tell("1", Vitals("loom"))
        page.clock.fast_forward(5000)
        expect(shown).to_have_count(0)
