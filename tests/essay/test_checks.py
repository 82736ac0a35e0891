"""Each check counts what a reader would, by hand, in a text that fits a line or two."""

from pathlib import Path

import pytest

from app.essay import checks
from app.essay.checks import Count
from models.text.novelty import LineNovelty


@pytest.mark.parametrize(
    ("text", "good", "of"),
    [
        ("", 0, 0),
        ("no brackets", 0, 0),
        ("f(a[1]) { b(); }", 8, 8),
        ("(]", 0, 2),
        ("([)]", 2, 4),
        (")(", 0, 2),
        ("{ if (a) { b; }", 4, 5),
        ("((a)", 2, 3),
    ],
)
def test_brackets_have_a_partner_in_order(text: str, good: int, of: int) -> None:
    assert checks.brackets(text) == Count(good, of)


@pytest.mark.parametrize(
    ("text", "good", "of"),
    [
        ("<page><title>a</title></page>", 4, 4),
        ("<page><title>a</page></title>", 2, 4),
        ('<ref name="a">b</ref><br /><br/>', 2, 2),
        ("if a < b and c > d: x<y>z", 0, 1),
        ("</a>", 0, 1),
        ("<a><b></a>", 2, 3),
    ],
)
def test_tags_are_closed_in_order(text: str, good: int, of: int) -> None:
    assert checks.tags(text) == Count(good, of)


@pytest.mark.parametrize(
    ("text", "good", "of"),
    [
        (r"\begin{proof} a \end{proof}", 2, 2),
        (r"\begin{proof} a \end{lemma}", 0, 2),
        (r"\begin{lemma}\begin{enumerate}\end{enumerate}\end{lemma}", 4, 4),
        (r"\begin{proof}", 0, 1),
        (r"\section{begin}", 0, 0),
    ],
)
def test_environments_belong_together(text: str, good: int, of: int) -> None:
    """The essay's own example of an error is the second."""
    assert checks.environments(text) == Count(good, of)


def test_quotes_are_paired_in_each_piece() -> None:
    assert checks.quotes('"a" said b.\n\nc\n\n"d\n\n"e" "f"') == Count(2, 3)
    assert checks.quotes('p("a");\nq("b);\nr();', "\n") == Count(1, 2)


def test_words_are_among_the_known_and_the_last_is_cut() -> None:
    assert list(checks.words("Don't stop, L'été; x1 Été")) == ["don't", "stop", "l'été", "x", "été"]
    assert checks.real_words("The cat zat on the m", {"the", "cat", "on"}) == Count(4, 5)
    assert checks.real_words("", set()) == Count(0, 0)


def test_comments_end_before_the_next() -> None:
    assert checks.closed_comments("/* a */ b /* c /* d */ e /*") == Count(2, 4)


def test_novelty_is_of_the_names_drawn_and_of_those_that_differ() -> None:
    found = checks.novelty(["anna", "anna", "bert", "", "zork", "zork"], {"anna", "otto"})
    assert found == LineNovelty(lines=5, novel=3, distinct=3, novel_distinct=2)


def test_a_share_is_none_of_none() -> None:
    assert Count(1, 4).share == 0.25
    assert Count(0, 0).share is None


# C

SOURCE = """\
/*
 * What came before (this) began.
 */
#include <linux/kernel.h>

struct thing {
\tint a;
\tint (*read)(struct thing *t);
};

static struct thing table[] = {
\t{ .read = (void *)first },
};

#define LOOP(x) do { \\
\tuse(x); \\
} while (0)

#define also(x) \\
static void f(void) \\
{ \\
} while (x)

static int first(struct thing *t, size_t n)
{
\tif (n > 0)
\t\treturn t->a;
\treturn 0;
}

static void declared(void);

void __init
second(u32 value)
{
\tlist_for_each_entry(p, &head, list) {
\t\tuse(p);
\t}
}

int cut_off(void)
{
\treturn
"""


def test_functions_begin_and_end_in_the_first_column() -> None:
    first, second = checks.functions(SOURCE)
    assert first.startswith("static int first(") and first.endswith("return 0;\n}")
    assert second.startswith("void __init\nsecond(u32 value)\n{")


with_compiler = pytest.mark.skipif(checks.compiler() is None, reason="no C compiler on the path")


@with_compiler
def test_a_parser_accepts_what_is_c() -> None:
    compiler = checks.compiler()
    assert compiler
    assert checks.c_functions(SOURCE, compiler) == Count(2, 2)
    assert checks.c_functions(SOURCE, compiler, most=1) == Count(1, 1)
    # From all over the text: the half that is none is among them.
    mixed = "int f(void)\n{\n}\n" * 10 + "int f(void)\n{\n\t(\n}\n" * 10
    assert checks.c_functions(mixed, compiler, most=4) == Count(2, 4)
    assert checks.c_functions("", compiler) == Count(0, 0)


@with_compiler
@pytest.mark.parametrize(
    ("function", "accepted"),
    [
        ("int f(void)\n{\n\treturn undeclared + 1;\n}", True),
        ("void f(void)\n{\n\treturn 1;\n}", True),
        ("int f(struct page *p, gfp_t flags)\n{\n\treturn (pgoff_t)p->x;\n}", True),
        ("void __weak f(Elf_Shdr *s, __u32 n)\n{\n\ts->x = min_t(int, n, 2);\n}", True),
        ("void f(void)\n\t__releases(lock)\n{\n}", True),
        ("void f(void)\n{\n\tp = list_entry(q, struct page, list)->next;\n}", True),
        ('void f(void)\n{\n\tprintk(KERN_ERR "a" TAIL);\n}', True),
        ("SYSCALL_DEFINE1(close, unsigned int, fd)\n{\n\treturn 0;\n}", True),
        ("int list_entry(struct page *p)\n{\n\treturn list_entry(p->next);\n}", True),
        ("void __weak f(void)\n{\n\tp = list_entry(q, struct page, list);\n\t}\n}", False),
        ('void f(void)\n{\n\tprintk(KERN_ERR "a"\n}', False),
        ("int f(void)\n{\n\tif (a {\n\t}\n\treturn 0;\n}", False),
        ("int f(void)\n{\n\treturn 1\n}", False),
        ('int f(void)\n{\n\tprintk("a);\n\treturn 0;\n}', False),
        ("int f(void)\n{\n\tfor (;;\n}", False),
        ("int f(void)\n{\n\t}\n\treturn 0;\n}", False),
        ("int f(void)\n{\n\telse\n\t\treturn 0;\n}", False),
    ],
)
def test_syntax_counts_and_meaning_does_not(function: str, accepted: bool) -> None:
    """The essay's samples use what they never declare, and return from what returns nothing."""
    compiler = checks.compiler()
    assert compiler and checks.parses(function, compiler) is accepted


def test_without_a_compiler_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert checks.compiler() is None


def stand_in(directory: Path, does: str) -> Path:
    """A program that is called as a compiler is."""
    path = directory / "cc"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


def test_one_that_only_says_that_it_is_none_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "echo 'xcode-select: error: no developer tools' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.compiler() is None


def test_a_compiler_that_does_not_end_accepts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = stand_in(tmp_path, "exec sleep 60")
    monkeypatch.setattr(checks, "COMPILER_SECONDS", 0.1)
    assert not checks.parses("int f(void)\n{\n}", str(slow))
