"""A state continues its own checkpoint's text on this server, and nothing else makes one."""

import base64
import concurrent.futures
import errno
import hmac
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.engine.states import NotAState, Saved, StateSigner
from models.decoding.rows import Rows
from models.decoding.stream import StreamState
from tests.serving import Query, problem, serve, wrong_fields

AS_JSON = {"Accept": "application/json"}
SHAPES = [(2, 1, 3), (2, 1, 3)]


def saved(digest: str = "d" * 64) -> Saved:
    dice = np.random.default_rng(1)
    state = tuple(dice.normal(size=shape).astype(np.float32) for shape in SHAPES)
    rows = Rows(np.array([4]), state)
    return Saved(digest, "fast", StreamState(rows, 17, 2**63 - 1, b"\xe3\x81", "unsaid あ"))


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    signer = StateSigner(tmp_path / "secret")
    token = signer.write(saved())
    assert token.isascii()
    assert signer.digest(token) == "d" * 64
    back = StateSigner(tmp_path / "secret").read(token, SHAPES)
    assert (back.digest, back.precision) == ("d" * 64, "fast")
    before = saved().state
    assert (back.state.position, back.state.seed) == (before.position, before.seed)
    assert (back.state.pending, back.state.unsaid) == (before.pending, before.unsaid)
    assert back.state.rows.ids.tolist() == before.rows.ids.tolist()
    for part, expected in zip(back.state.rows.state, before.rows.state, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_a_state_that_says_nothing_new_is_one_of_an_earlier_release(tmp_path: Path) -> None:
    """Servers of two releases share a data directory while one replaces the other."""
    signer = StateSigner(tmp_path / "secret")
    assert b"begun" not in base64.urlsafe_b64decode(signer.write(saved()))
    state = replace(saved().state, begun=(5, 7), before=(0, 3, 3))
    back = signer.read(signer.write(replace(saved(), state=state)), SHAPES).state
    assert (back.begun, back.before) == ((5, 7), (0, 3, 3))


def test_a_state_of_another_shape_or_key_is_none(tmp_path: Path) -> None:
    signer = StateSigner(tmp_path / "secret")
    token = signer.write(saved())
    for shapes in ([(2, 1, 3)], [(2, 1, 4), (2, 1, 4)]):
        with pytest.raises(NotAState):
            signer.read(token, shapes)
    with pytest.raises(NotAState):
        StateSigner(tmp_path / "other").digest(token)


def test_every_changed_character_is_noticed(tmp_path: Path) -> None:
    signer = StateSigner(tmp_path / "secret")
    token = signer.write(saved())
    for place in range(0, len(token), 7):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(NotAState):
            signer.digest(token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize("token", ["", "A", "AAAA", "nonsense", "é", "\ud800", "A" * 1000, "=" * 8])
def test_what_is_no_token_is_no_state(tmp_path: Path, token: str) -> None:
    with pytest.raises(NotAState):
        StateSigner(tmp_path / "secret").digest(token)


def test_of_servers_that_start_together_one_makes_the_key(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: StateSigner(path), range(8)))
    assert len({signer.write(saved()) for signer in signers}) == 1
    assert [file.name for file in path.parent.iterdir()] == ["secret"]
    assert path.stat().st_mode & 0o777 == 0o600


def forged(signer: StateSigner, changed: dict[str, Any], numbers: float = 0.5) -> str:
    """A state that is signed correctly, whatever it says."""
    head: dict[str, Any] = {
        "digest": "d" * 64,
        "precision": "exact",
        "id": 4,
        "position": 17,
        "seed": 3,
        "pending": "e381",
        "unsaid": "",
    }
    text = json.dumps(head | changed).encode()
    size = sum(math.prod(shape) for shape in SHAPES)
    body = len(text).to_bytes(4, "little") + text + np.full(size, numbers, "<f4").tobytes()
    return base64.urlsafe_b64encode(signer._sign(body) + body).decode()


@pytest.mark.parametrize(
    "changed",
    [
        {"position": 10**30},
        {"position": 1 << 63},
        {"position": -1},
        {"position": 1.5},
        {"position": "1"},
        {"position": None},
        {"seed": 1 << 63},
        {"seed": -1},
        {"seed": True},
        {"id": -1},
        {"id": 1 << 40},
        {"pending": "e38182e3"},
        {"pending": "e3 81"},
        {"pending": "xy"},
        {"unsaid": "a" * 1000},
        {"unsaid": "\ud800"},
        {"unsaid": None},
        {"precision": "double"},
        {"digest": 5},
        {"begun": [-1, 0]},
        {"begun": [0, 1 << 60]},
        {"begun": [0]},
        {"begun": 3},
        {"before": [-1]},
        {"before": [1 << 40]},
        {"before": ["a"]},
        {"before": [1] * 1001},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_signed_is_checked_all_the_same(tmp_path: Path, changed: dict[str, Any]) -> None:
    signer = StateSigner(tmp_path / "secret")
    assert signer.read(forged(signer, {}), SHAPES).state.position == 17
    with pytest.raises(NotAState):
        signer.read(forged(signer, changed), SHAPES)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_state_is_finite(tmp_path: Path, number: float) -> None:
    signer = StateSigner(tmp_path / "secret")
    with pytest.raises(NotAState):
        signer.read(forged(signer, {}, number), SHAPES)


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0\0", b"\xff\xff\xff\xff{}", b"\2\0\0\0{}", b"\2\0\0\0[]", b"\1\0\0\0{"]
)
def test_what_is_signed_may_be_anything(tmp_path: Path, body: bytes) -> None:
    signer = StateSigner(tmp_path / "secret")
    token = base64.urlsafe_b64encode(signer._sign(body) + body).decode()
    for read in (signer.digest, lambda token: signer.read(token, SHAPES)):
        with pytest.raises(NotAState):
            read(token)


# The key


DAMAGE = {
    "empty": b"",
    "short": b"0123456789abcdef",
    "zeros": bytes(32),
    "spaces": b" " * 64,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_key_that_anybody_could_have_is_replaced(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(damage)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: StateSigner(path), range(8)))
    assert len({signer.write(saved()) for signer in signers}) == 1
    assert len(path.read_bytes()) == 32 and path.stat().st_mode & 0o777 == 0o600
    assert caplog.text.count("secret is damaged: a new key replaces it") == 1
    body = b"forged"
    forgery = base64.urlsafe_b64encode(hmac.digest(damage, body, "sha256") + body).decode()
    with pytest.raises(NotAState):
        signers[0].digest(forgery)


def test_a_full_disk_keeps_the_key_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = StateSigner(tmp_path / "secret").write(saved())
    _fill_the_disk(monkeypatch)
    assert StateSigner(tmp_path / "secret").digest(before) == "d" * 64
    assert not caplog.records


def test_without_a_file_the_key_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So a server comes up on a full disk, or where its key is a folder."""
    (tmp_path / "folder").mkdir()
    signers = [StateSigner(tmp_path / "folder")]
    _fill_the_disk(monkeypatch)
    signers.append(StateSigner(tmp_path / "secret"))
    for signer in signers:
        assert signer.digest(signer.write(saved())) == "d" * 64
    assert not (tmp_path / "secret").exists()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "secret cannot be read or written (No space left on device)" in caplog.text
    assert "until this server ends" in caplog.text


def _fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creates files, as a full disk does, but writes nothing into them."""

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fsync)


# Over HTTP


def test_a_forged_state_hurts_nobody(toys: Path) -> None:
    """Whoever has the key can make a state; texts that run beside it do not notice."""
    with serve(toys) as client:
        signer = StateSigner(toys / "secret")
        asked: Query = {"model": "toy", "length": 5, "precision": "exact"}
        state = client.post("/sample", json=asked, headers=AS_JSON).json()["state"]
        shapes = [(2, 1, 24), (2, 1, 24)]
        sound = signer.read(state, shapes)
        long: Query = {"model": "toy", "seed": 7, "length": 30_000}
        alone = client.get("/sample", params=long).text
        with client.stream("GET", "/sample", params=long) as running:
            chunks = running.iter_text()
            text = next(chunks)
            h, c = sound.state.rows.state
            for rows in (
                Rows(np.array([60_000]), (h, c)),
                Rows(sound.state.rows.ids, (h + 3, c)),
                sound.state.rows,
            ):
                before = (60_000,) if rows is sound.state.rows else ()
                state = replace(sound.state, rows=rows, before=before)
                forgery = signer.write(replace(sound, state=state))
                body = {"model": "toy", "continue_from": forgery}
                wrong_fields(client.post("/sample", json=body), "invalid_state")
            text += "".join(chunks)
        assert text == alone


def test_a_state_is_bound_and_signed(client: httpx2.Client) -> None:
    asked = {"model": "toy", "length": 5}
    state = client.post("/sample", json=asked, headers=AS_JSON).json()["state"]
    other = client.post("/sample", json={"model": "toy:rough", "continue_from": state})
    detail = problem(other, 409, "state_of_another_checkpoint")["detail"]
    assert "another checkpoint" in detail
    changed = ("B" if state[0] == "A" else "A") + state[1:]
    for forged in (changed, state[:-8], "nonsense", "é", state + "AAAA"):
        refused = client.post("/sample", json={"model": "toy", "continue_from": forged})
        assert "unchanged" in wrong_fields(refused, "invalid_state")["continue_from"]
