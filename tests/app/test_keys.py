"""A key is read as it is sent, kept as a hash, and never shown."""

import re

import pytest

from app.access.keys import KeyRing, bearer


def test_a_key_is_read_as_rfc_6750_has_it() -> None:
    assert bearer("bearer  k ") == bearer("BEARER k") == bearer("Bearer k") == "k"
    assert bearer("Basic k") is bearer("k") is bearer("") is None


def test_keys_are_kept_as_hashes_and_compared_whole() -> None:
    ring = KeyRing.parse(" first-one:sample , second-one:train+admin,")
    assert "first" not in repr(vars(ring))
    found = ring.find("second-one")
    assert found and found.scopes == {"train", "admin"} and found.may("sample")
    for wrong in ("", "first-on", "first-one ", "first-one:sample", "FIRST-ONE", "fïrst-one"):
        assert ring.find(wrong) is None
    assert not KeyRing.parse("") and not KeyRing.parse(" , ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("open-sesame", "entry 1 must be key:scope+scope"),
        ("open-sesame:sample,x:write", "entry 2 must be key:scope+scope"),
        ("open-sesame:sample+sample+", "entry 1 must be key:scope+scope"),
        (":sample", "the key of entry 1 must have 8 to 256 visible ASCII characters"),
        ("open sesame:sample", "visible ASCII"),
        ("sesame7:sample", "make one with openssl rand -hex 32"),
        (f"{'k' * 257}:sample", "8 to 256"),
        ("open-sesame:sample,open-sesame:train", "a key occurs twice"),
    ],
)
def test_keys_that_are_none_are_explained_without_them(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        KeyRing.parse(text)


def test_a_key_may_contain_colons_and_an_admin_may_do_all() -> None:
    ring = KeyRing.parse("a:b:c:d:e:sample,the-chief:admin")
    colons, chief = ring.find("a:b:c:d:e"), ring.find("the-chief")
    assert colons and colons.may("sample") and not colons.may("train")
    assert chief and all(chief.may(scope) for scope in ("sample", "train", "admin"))
