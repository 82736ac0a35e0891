"""A report is Markdown and a page that show the same, whatever is in them."""

import re
from html.parser import HTMLParser

from app.essay.report import (
    Block,
    Curves,
    Heading,
    Paragraph,
    Points,
    Sample,
    Table,
    markdown,
    page,
)

BLOCKS: list[Block] = [
    Heading("A <heading> & more"),
    Paragraph("One & <two>"),
    Table(("a|b", "c"), [("x\ny", "<b>")]),
    Sample("  spaced\n<script>alert(1)</script>\n```\n"),
    Curves("step", {"training": [(1, 3.0), (2, 2.0)], "validation": [(2, 2.5)], "none": []}),
]


def test_markdown_is_as_it_was_meant() -> None:
    text = markdown("Title", BLOCKS)
    assert text.startswith("# Title\n\n## A <heading> & more\n\n")
    assert "| a\\|b | c |\n| --- | --- |\n| x y | <b> |" in text
    assert "    <script>alert(1)</script>\n    ```\n" in text
    assert "| step | training | validation | none |" in text
    assert "| 2 | 2.0000 | 2.5000 |  |" in text


def test_long_curves_are_a_short_table_that_ends_where_they_do() -> None:
    text = markdown("Title", [Curves("step", {"loss": [(x, 1.0) for x in range(1000)]})])
    rows = re.findall(r"(?m)^\| (\d+) \|", text)
    assert len(rows) <= 12 and rows[-1] == "999"
    lines: dict[str, Points] = {
        "many": [(1, 1.0), (2, 2.0), (3, 3.0)],
        "few": [(2.5, 9.0)],
        "late": [(3, 4.0)],
    }
    assert markdown("Title", [Curves("step", lines)]).endswith("| 2.5 | 2.0000 | 9.0000 |  |\n")


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_shows_texts_as_they_are_and_loads_nothing() -> None:
    reader = Reader()
    reader.feed(page("A & <B>", BLOCKS))
    assert "script" not in reader.tags and "b" not in reader.tags
    assert reader.tags.count("polyline") == 2
    assert "  spaced\n<script>alert(1)</script>\n```\n" in reader.texts
    assert {"A & <B>", "One & <two>", "x\ny", "<b>"} <= set(reader.texts)
    assert "default-src 'none'" in page("", [])


def test_a_curve_is_not_flattened_by_how_it_begins() -> None:
    loss = [(1.0, 90.0), (20.0, 3.0), (1000.0, 1.0)]
    drawn = page("", [Curves("step", {"loss": loss})])
    assert ">3.00<" in drawn and ">1.00<" in drawn and "90.00" not in drawn
    # What is above is cut off.
    found = re.search(r'viewBox="0 (\d+) \d+ (\d+)"><polyline points="([^"]*)"', drawn)
    assert found
    top, tall = map(int, found.groups()[:2])
    first, second, last = (float(point.partition(",")[2]) for point in found[3].split())
    assert first < top < second < last < top + tall
