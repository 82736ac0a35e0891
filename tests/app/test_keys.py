"""A key is read as it is sent, kept as a hash, and never shown."""

import re

import pytest

from app.access.keys import KeyRing, bearer


def test_a_key_is_read_as_rfc_6750_has_it() -> None:
    assert bearer("bearer  k ") == bearer("BEARER k") == bearer("Bearer k") == "k"
    assert bearer("Basic k") is bearer("k") is bearer("") is None


def test_keys_are_kept_as_hashes_and_compared_whole() -> None:
    ring = KeyRing.parse(" first:sample , second:train+admin,")
    assert "first" not in repr(vars(ring))
    found = ring.find("second")
    assert found and found.scopes == {"train", "admin"} and found.may("sample")
    for wrong in ("", "firs", "first ", "first:sample", "FIRST", "fïrst"):
        assert ring.find(wrong) is None
    assert not KeyRing.parse("") and not KeyRing.parse(" , ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("k", "entry 1 must be key:scope+scope"),
        ("k:sample,x:write", "entry 2 must be key:scope+scope"),
        ("k:sample+sample+", "entry 1 must be key:scope+scope"),
        (":sample", "the key of entry 1 must have 1 to 256 visible ASCII characters"),
        ("a b:sample", "visible ASCII"),
        (f"{'k' * 257}:sample", "1 to 256"),
        ("k:sample,k:train", "a key occurs twice"),
    ],
)
def test_keys_that_are_none_are_explained_without_them(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        KeyRing.parse(text)


def test_a_key_may_contain_colons_and_an_admin_may_do_all() -> None:
    ring = KeyRing.parse("a:b:c:sample,chief:admin")
    colons, chief = ring.find("a:b:c"), ring.find("chief")
    assert colons and colons.may("sample") and not colons.may("train")
    assert chief and all(chief.may(scope) for scope in ("sample", "train", "admin"))
