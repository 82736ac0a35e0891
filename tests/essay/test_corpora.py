"""The table of public texts is sound."""

import re

from app.essay.corpora import PUBLIC_CORPORA


def test_the_table_is_sound() -> None:
    for name, public in PUBLIC_CORPORA.items():
        assert re.fullmatch("[a-z0-9]+", name)
        assert public.url.startswith("https://")
        assert bool(public.members) == (public.kind != "text")
        for digest in (public.sha256, public.text_sha256):
            assert digest is None or re.fullmatch("[0-9a-f]{64}", digest)
