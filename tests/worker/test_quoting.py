"""What a process printed is quoted to clients without paths, secrets or an end."""

import pytest

from worker.trainer.quoting import MAX_CHARACTERS, quotable

TRACEBACK = """Traceback (most recent call last):
  File "/home/ann lee/charloom/worker/trainer/horse.py", line 45, in <module>
    main()
  File "/opt/venv/lib/python3.11/site-packages/torch/__init__.py", line 7, in <module>
    from torch._C import *
ImportError: /opt/venv/libtorch.so: cannot open shared object file
"""


def test_the_last_lines_are_quoted_without_their_places() -> None:
    quoted = quotable(TRACEBACK, {})
    assert quoted.endswith("ImportError: libtorch.so cannot open shared object file")
    assert "File __init__.py line 7" in quoted.replace(",", "")
    for place in ("home", "lee", "opt", "venv", "/"):
        assert place not in quoted


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        ("", ""),
        ("\n \n", ""),
        ("no room in /srv/data, sorry", "no room in … sorry"),
        ("redis://user:pass@host:1/0 refused", "… refused"),
        ("a\x1b[31m red\u202e word", "a\\x1b[31m red\\u202e word"),
        ("the key is s3cret-key.", "the key is …."),
        ("it is hunter22", "it is …"),
    ],
)
def test_what_only_this_machine_should_know_is_left_out(said: str, quoted: str) -> None:
    environment = {
        "CHARLOOM_API_KEYS": "sample:s3cret-key",
        "CHARLOOM_REDIS_URL": "redis://:hunter22@localhost:1",
        "HOME": "room",
    }
    assert quotable(said, environment) == quoted


def test_it_is_never_long() -> None:
    assert len(quotable("x" * 10**6, {})) <= MAX_CHARACTERS + 1
    assert len(quotable("word /a/b " * 10**5, {})) <= MAX_CHARACTERS + 1
    assert quotable("first\n" * 10**5 + "last", {}).endswith("first | last")
