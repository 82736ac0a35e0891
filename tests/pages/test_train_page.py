"""Train: what the corpus doctor says of a text, and what a text is made of."""

import io
import lzma
import zipfile
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
    packed = lzma.compress(b"It was the best of times, it was the worst of times.\n" * 9)
    files = {
        "a.png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200), "It is an image"),
        "a.txt.xz": (packed, "it is an xz file: unpack it first"),
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
    assert refused.status_code == 422 and "an xz file" in refused.json()["detail"]


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


TEXT = "It was the best of times, it was the worst of times.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my book"
    for name, text in {"b/2.txt": TEXT, "1.txt": TEXT * 9, ".git/x": "", "a.lock": "x"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_folder_is_one_text(client: httpx2.Client, window: Window, folder: Path) -> None:
    page = window.open(client, "/train")
    page.set_input_files("#corpus-folder", folder)
    said = page.locator(".report summary")
    expect(said).to_have_text("Made of 2 files; 1 left out; 1 hidden file not sent.")
    said.click()
    expect(page.locator(".sources li")).to_have_text(
        ["a.lockleft out: it is a lockfile", "1.txt477 bytes", "b/2.txt53 bytes"]
    )
    expect(page.get_by_label("Name of the model")).to_have_value("my-book")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()


def test_a_folder_can_be_dropped(client: httpx2.Client, window: Window, folder: Path) -> None:
    page = window.open(client, "/train")
    box = page.locator(".drop").bounding_box()
    assert box
    mouse = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        place = {"x": box["x"] + 50, "y": box["y"] + 50}
        mouse.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})
    expect(page.locator(".report summary")).to_have_text("Made of 2 files; 1 left out.")
    expect(page.locator(".sources")).to_contain_text("b/2.txt")
    expect(page.get_by_label("Name of the model")).to_have_value("my-book")


def test_files_and_archives_can_be_dropped(client: httpx2.Client, window: Window) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/b.txt", TEXT * 3)
    page = window.open(client, "/train")
    files = {"one.txt": list((TEXT * 3 + "One.").encode()), "two.zip": list(packed.getvalue())}
    page.locator(".drop").evaluate(
        """(drop, files) => {
            const transfer = new DataTransfer();
            for (const [name, data] of Object.entries(files))
                transfer.items.add(new File([new Uint8Array(data)], name));
            const dropped = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
            drop.dispatchEvent(dropped);
        }""",
        files,
    )
    expect(page.locator(".report summary")).to_have_text("Made of 2 files.")
    expect(page.locator(".sources")).to_contain_text("two.zip/a/b.txt")


def test_too_many_files_are_not_sent(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/train")
    page.locator(".drop").evaluate(
        """(drop) => {
            const transfer = new DataTransfer();
            for (let n = 0; n <= 10000; n++) transfer.items.add(new File(["x"], `${n}.txt`));
            const dropped = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
            drop.dispatchEvent(dropped);
        }"""
    )
    expect(page.locator(".message")).to_contain_text("more than 10,000 files")
