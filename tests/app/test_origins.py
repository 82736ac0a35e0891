"""The operator's list of origins."""

from app.access.origins import may_sample

SITE, OTHER = "https://example.org", "https://example.com"


def test_an_origin_is_in_the_list_whatever_its_case_and_a_star_is_every_origin() -> None:
    assert may_sample(SITE, {"*"}) and may_sample("HTTPS://Example.org", [SITE])
    assert not may_sample(OTHER, [SITE]) and not may_sample(SITE, ())
