"""Whether the pages of an origin may draw names: what the guard would say, told to any page."""

from pathlib import Path

import httpx2
import pytest

from tests.serving import serve, wrong_fields

SITE, OTHER = "https://example.org", "https://example.com"


def access(client: httpx2.Client, origin: str | None = None, **headers: str) -> tuple[bool, bool]:
    query = {"origin": origin} if origin else {}
    response = client.get("/widget/access", params=query, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    answer = response.json()
    return answer["allowed"], answer["needs_key"]


def test_it_says_what_the_guard_does(tmp_path: Path) -> None:
    with serve(tmp_path, cors_origins=SITE, hosts="loom.example.org") as client:
        for origin in (SITE, OTHER, "https://EXAMPLE.ORG", "https://loom.example.org"):
            asked = client.get("/models", headers={"Origin": origin})
            is_own = "loom." in origin
            allowed = is_own or "access-control-allow-origin" in asked.headers
            assert access(client, origin) == access(client, Origin=origin) == (allowed, False)
        # Whose page asks does not matter where an origin is named.
        assert access(client, OTHER, Origin=SITE) == (False, False)
        assert access(client) == (True, False)
        assert access(client, Origin="null") == (False, False)


@pytest.mark.parametrize(("public", "needs_key"), [("", True), ("sample", False)])
def test_whether_it_needs_a_key(tmp_path: Path, public: str, needs_key: bool) -> None:
    with serve(tmp_path, api_keys="the-chief:admin", public=public, cors_origins="*") as client:
        assert access(client, SITE) == (True, needs_key)


def test_what_is_no_origin(tmp_path: Path) -> None:
    with serve(tmp_path) as client:
        for origin in ("example.org", f"{SITE}/path", "null", "https://" + "a" * 400):
            assert "origin" in wrong_fields(client.get("/widget/access", params={"origin": origin}))
