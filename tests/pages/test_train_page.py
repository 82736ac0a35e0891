"""Train: what the corpus doctor says of a text, and what a text is made of."""

import io
import lzma
import zipfile
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import FilePayload, expect

from tests.browsing import Window, accessible
from tests.serving import serve
from worker import vitals
from worker.devices import Device, DeviceStore
from worker.gpus import Gpu
from worker.queue import Queue
from worker.vitals import Vitals


def upload(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def test_the_doctor_speaks_before_anything_is_trained(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train")
    text = "Das Fr\u00fchst\u00fcck war sch\u00f6n.\n" * 20 + "#"
    page.set_input_files("#corpus-file", upload("B\u00fccher.txt", text.encode()))
    expect(page.locator(".report .warning").first).to_contain_text("are few")
    # A remark, not a warning.
    expect(page.locator(".report")).to_contain_text("Too rare to learn: #")
    expect(page.get_by_label("Name of the model")).to_have_value("bu-cher")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()


SLOW = Device("cpu", memory_bytes=1 << 34, work=1e9, measured_at="2026-01-01T00:00:00.000Z")
LATIN = ("Das Fr\u00fchst\u00fcck war sch\u00f6n.\n" * 20).encode("latin-1")
KANA = ("\u3053\u3093\u306b\u3061\u306f\u3002\n" * 60).encode("shift_jis")


@pytest.mark.parametrize(
    ("sent", "encoding", "shown"),
    [
        (LATIN, "windows-1252", "Das Fr\u00fchst\u00fcck war sch\u00f6n."),
        (KANA, "shift_jis", "\u3053\u3093\u306b\u3061\u306f\u3002"),
        (LATIN.decode("latin-1").encode("utf-16-le"), "utf-16le", "Das Fr\u00fchst\u00fcck"),
    ],
)
def test_a_text_that_is_not_utf_8_is_converted_after_a_question(
    sent: bytes, encoding: str, shown: str, client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train")
    page.set_input_files("#corpus-file", upload("old.txt", sent))
    expect(page.get_by_label("Read it as")).to_have_value(encoding)
    expect(page.get_by_label("How it reads")).to_contain_text(shown)
    start = page.get_by_role("button", name="Train", exact=True)
    expect(start).to_be_disabled()
    assert accessible(page)
    page.get_by_role("button", name="Yes, read it like this").click()
    expect(page.locator(".report")).to_contain_text("Converted from")
    expect(start).to_be_enabled()
    corpora = {one["characters"]: one for one in client.get("/corpora").json()["corpora"]}
    kept = corpora[len(sent.decode(encoding.replace("windows-", "cp")))]
    assert kept["encoding"] == "utf-8"


def test_another_encoding_may_be_chosen_or_bytes(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/train")
    page.set_input_files("#corpus-file", upload("old.txt", LATIN))
    choice, shown = page.get_by_label("Read it as"), page.get_by_label("How it reads")
    yes = page.get_by_role("button", name="Yes, read it like this")
    choice.select_option("windows-1251")
    expect(shown).to_contain_text("Fr\u044chst\u044cck")
    choice.select_option("euc-kr")
    expect(page.get_by_text("bytes that mean nothing in this encoding")).to_be_visible()
    expect(yes).to_be_disabled()
    page.get_by_role("button", name="Train on its bytes").click()
    expect(page.locator(".report")).not_to_contain_text("not UTF-8")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    page.get_by_text("Options", exact=True).click()
    expect(page.get_by_label("Read as")).to_have_value("bytes")


def test_the_time_is_chosen_before_training_and_says_what_to_expect(
    data: Path, redis_url: str, window: Window
) -> None:
    DeviceStore(data / "devices").record(SLOW)
    with serve(data, redis_url=redis_url) as client:
        page = window.open(client, "/train")
        page.set_input_files("#corpus-file", upload("book.txt", (TEXT * 50).encode()))
        expect(page.get_by_text("In 3 min here, 2 layers of")).to_be_visible()
        page.get_by_label("20 s").check()
        expect(page.get_by_text("In 20 sec here, 2 layers of")).to_be_visible()
        page.get_by_label("Other").check()
        window.expected.append("422 (Unprocessable Entity)")
        page.get_by_label("Minutes").fill("two")
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.locator(".times .wrong")).to_be_visible()
        page.get_by_label("Minutes").fill("2,5")
        expect(page.get_by_text("In 2 min 30 sec here, 2 layers of")).to_be_visible()
        page.get_by_role("button", name="Train", exact=True).click()
        page.wait_for_url("**/train/*")
        (job,) = client.get("/jobs").json()["jobs"]
        assert job["options"]["max_seconds"] == 150
        # A job's page asks on, also a server that has ended.
        page.close()


def test_a_name_is_looked_at_while_it_is_typed(client: httpx2.Client, window: Window) -> None:
    taken = client.get("/models").json()["models"][0]["name"]
    page = window.open(client, "/train")
    name = page.get_by_label("Name of the model")
    name.fill(taken)
    expect(page.get_by_text(f"{taken} exists: training replaces it")).to_be_visible()
    name.fill("Not A Name")
    expect(page.get_by_text("It begins with a letter or a digit")).to_be_visible()
    name.fill("free-name")
    expect(page.get_by_text("It begins with a letter or a digit")).to_be_hidden()


def test_a_file_that_is_no_text_is_named_and_cannot_be_trained_on(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train")
    start = page.get_by_role("button", name="Train", exact=True)
    packed = lzma.compress(b"It was the best of times, it was the worst of times.\n" * 9)
    files = {
        "a.bin": (bytes(range(256)) * 4, "looks like a binary file."),
        "a.txt": (b"abcde", "send at least 100"),
        "a.png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200), "It is an image"),
        "a.txt.xz": (packed, "it is an xz file: unpack it first"),
    }
    for name, (data, words) in files.items():
        page.set_input_files("#corpus-file", upload(name, data))
        expect(page.locator(".report .warning")).to_have_count(1)
        expect(page.locator(".report .warning")).to_contain_text(words, ignore_case=True)
        expect(page.locator(".report .refusal")).not_to_contain_text("bytes” under Options")
        expect(start).to_be_disabled()
        page.get_by_role("button", name="Another text").click()
    # The server agrees.
    refused = client.post("/train", params={"model": "noise"}, content=packed)
    assert refused.status_code == 422 and "an xz file" in refused.json()["detail"]


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
    # Open, since something is missing.
    expect(page.locator(".sources li").first).to_be_visible()
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
