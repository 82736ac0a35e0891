"""Training in Japanese: what the server says of texts and trainings, in the page's language."""

from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import FilePayload, expect

from tests.archives import pack
from tests.browsing import Window, accessible
from tests.serving import serve
from worker.events import EventLog
from worker.jobs import JobStore

JAPANESE: dict[str, Any] = {"locale": "ja-JP"}


def upload(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def test_the_doctor_speaks_japanese(client: httpx2.Client, window: Window) -> None:
    page = window.open(client, "/train", **JAPANESE)
    report = page.get_by_role("region", name="テキストの診断結果")
    lines = "吾輩は猫である。名前はまだ無い。\r\n" * 40 + "<html>\u200b"
    page.set_input_files("#corpus-file", upload("猫.txt", lines.encode()))
    expect(report).to_contain_text("CRLF の改行 40 個を LF に変換")
    expect(report).to_contain_text("少なすぎて学べない文字")
    expect(report.locator(".warning")).to_contain_text(
        ["目に見えない文字が含まれています", "文字では少なめです", "が前の行の繰り返しです"]
    )
    assert report.locator("[lang=en]").count() == 0
    assert accessible(page)


def test_a_text_in_an_old_encoding_is_asked_about_in_japanese(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train", **JAPANESE)
    report = page.get_by_role("region", name="テキストの診断結果")
    page.set_input_files("#corpus-file", upload("old.txt", ("国境の長い。\n" * 60).encode("sjis")))
    expect(report).to_contain_text("UTF-8 ではありません")
    report.get_by_label("文字コード").select_option("shift_jis")
    report.get_by_role("button", name="この文字コードで読み取る").click()
    expect(report).to_contain_text("UTF-8 に変換しました。")
    page.get_by_role("button", name="別のテキスト").click()
    page.set_input_files("#corpus-file", upload("image.png", b"\x89PNG\r\n\x1a\n" + bytes(200)))
    expect(report.locator(".refusal")).to_contain_text("学習に使えるテキストを含んでいません。")
    assert report.locator("[lang=en]").count() == 0


def test_what_is_left_out_of_an_archive_is_told_in_japanese(
    client: httpx2.Client, window: Window
) -> None:
    page = window.open(client, "/train", **JAPANESE)
    report = page.get_by_role("region", name="テキストの診断結果")
    fox = b"A fox.\n" * 40
    files = {"a.txt": fox, "b.txt": fox, ".hidden": b"x", "go.sum": b"x"}
    page.set_input_files("#corpus-file", upload("texts.zip", pack(files)))
    expect(report.locator("summary")).to_have_text("1 個のファイルから作成、3 個を除外。")
    rows = report.locator(".sources li")
    expect(rows.filter(has_text="b.txt")).to_contain_text("ほかのファイルと同じ内容")
    expect(rows.filter(has_text="go.sum")).to_contain_text("ロックファイル")
    expect(rows.filter(has_text=".hidden")).to_contain_text("隠しファイル")


NOTICES = {
    "plan": "2×128 LSTM, 270,000 parameters, dropout 0.1, batches of 32×64, about 30,000 "
    "characters a second here in fp32: about 9.5 passes over the text",
    "baseline": "the n-gram baseline, of order 5, reaches 2.0130 (2.904 bits) on the held-out "
    "text: fox:ngram writes with it",
    "setback": "Memory ran out: training resumes by itself after 4 s, attempt 2 of 3",
    "unheard": "a notice of another release",
}


def test_a_job_tells_its_notices_in_japanese(toys: Path, window: Window) -> None:
    """Those that the page does not know are in English, and marked as such."""
    job, _ = JobStore(toys / "jobs").create("fox", "c" * 64, {}, None)
    log = EventLog(job.directory)
    for code, text in NOTICES.items():
        log.append("notice", {"code": code, "text": text})
    detail = (
        "Memory ran out, three times in a row before a step was saved. It said last: “No”. "
        f"When the cause is removed, resume it with POST /jobs/{job.id}/resume."
    )
    job.finish("failed", {"title": "Not enough memory", "detail": detail})
    with serve(toys) as client:
        page = window.open(client, f"/train/{job.id}", **JAPANESE)
        expect(page.locator(".lead")).to_contain_text("2×128 の LSTM、パラメーター 270,000 個")
        expect(page.locator(".lead")).to_contain_text("テキストを約 9.5 周します。")
        notices = page.locator(".notices p")
        expect(notices.nth(0)).to_contain_text("fox:ngram という名前のモデルで")
        expect(notices.nth(1)).to_contain_text("4 秒後に自動で再開します")
        expect(notices.nth(2).locator("[lang=en]")).to_have_text("A notice of another release.")
        why = page.locator(".message.problem")
        expect(why).to_contain_text("メモリーが足りません。一度も状態を保存できないまま")
        expect(why).to_contain_text("「No」。原因を取り除いたら")
        expect(page.locator(".title-line .status")).to_have_text("失敗")
        assert page.locator("main [lang=en]").count() == 1
        assert accessible(page)
