"""Keys are kept as hashes and compared whole."""

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
