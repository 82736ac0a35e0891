"""About in a real browser: the essay, and figures of the models that ship."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browsing import PHONE, Window, accessible
from tests.serving import serve

SHIPPED = Path(__file__).parents[2] / "pretrained"
ESSAY = "https://karpathy.github.io/2015/05/21/rnn-effectiveness/"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_tells_why_with_live_figures(tmp_path: Path, window: Window, scheme: str) -> None:
    with serve(tmp_path, pretrained=SHIPPED) as client:
        options = {"viewport": PHONE, "locale": "de-DE"} if scheme == "dark" else {}
        page = window.open(
            client, "/about", color_scheme=scheme, reduced_motion="reduce", **options
        )
        essay = page.get_by_role("main").get_by_role("link", name="The Unreasonable Effectiveness")
        expect(essay).to_have_attribute("href", ESSAY)
        expect(page.get_by_role("group", name="Step 2000")).to_contain_text("IAGO:")
        text = page.get_by_role("group", name="The text")
        page.wait_for_function("pre => pre.textContent.length === 320", arg=text.element_handle())
        model = client.get("/models/linux").json()
        row = page.get_by_role("row", name="linux")
        expect(row).to_contain_text(f"{model['bpc']:.3f}")
        expect(row).to_contain_text("Beats the 20-gram by 11%.")
        # In the page's language, whatever the browser's is.
        expect(row).to_contain_text("6.2M characters")
        assert accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if scheme == "dark":
            page.close()
            return
        best = client.get("/models/linux/cells").json()["hypotheses"]
        [cell] = [one["cells"][0] for one in best if one["name"] == "comment"]
        page.get_by_role("link", name=f"Look at cell {cell['cell']} of layer").click()
        expect(page).to_have_url(f"{page.url.split('/inside')[0]}{inside(cell)}")
        # It reads on, and the server ends here.
        page.close()


def inside(cell: dict[str, int]) -> str:
    return f"/inside?model=linux&layer={cell['layer']}&cell={cell['cell']}"


def test_a_server_without_models_has_the_words(tmp_path: Path, window: Window) -> None:
    with serve(tmp_path) as client:
        page = window.open(client, "/about")
        expect(page.get_by_role("heading", level=2)).to_have_text(["Now with a text of yours"])
        assert accessible(page)
