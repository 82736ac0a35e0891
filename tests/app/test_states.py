"""A state continues its own checkpoint's text on this server, and nothing else makes one."""

import concurrent.futures
from pathlib import Path

import httpx2
import numpy as np
import pytest

from app.engine.states import NotAState, Saved, StateSigner
from models.decoding.batch import StreamState
from models.decoding.decoder import Rows
from tests.serving import problem, wrong_fields

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
