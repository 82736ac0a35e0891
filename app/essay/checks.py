"""What a reader can verify in a text: that brackets, tags and environments close in order, that
words are words, that C is C, and that names are new.

Pure functions of text that count, but for the C compiler that they run. Knows no network and no
corpus on disk.
"""

import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from models.text.novelty import LineNovelty

_PAIRS = {")": "(", "]": "[", "}": "{"}

_WORD = re.compile("[^\\W\\d_]+(?:['\u2019][^\\W\\d_]+)*")
_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]*)(?:\s[^<>]*?)?(/?)>")
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([^{}\n]*)\}")

COMPILERS = ("cc", "gcc", "clang")
COMPILER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Count:
    """``good`` ones out of ``of``."""

    good: int
    of: int

    @property
    def share(self) -> float | None:
        """From 0 to 1; None out of none."""
        return self.good / self.of if self.of else None


def brackets(text: str) -> Count:
    """Counts brackets ``()[]{}``, and those with a partner, closed in order."""

    def marks() -> Iterator[tuple[bool, str]]:
        for character in text:
            if character in _PAIRS:
                yield False, _PAIRS[character]
            elif character in "([{":
                yield True, character

    return _matched(marks())


def tags(text: str) -> Count:
    """Counts XML tags, and those opened and closed in order; self-closing ones don't count."""
    found = (match.groups() for match in _TAG.finditer(text))
    return _matched((not end, name) for end, name, closed in found if not closed)


def environments(text: str) -> Count:
    r"""Counts LaTeX's ``\begin`` and ``\end``, and those that match, in order."""
    found = (match.groups() for match in _ENVIRONMENT.finditer(text))
    return _matched((kind == "begin", name) for kind, name in found)


def _matched(marks: Iterable[tuple[bool, str]]) -> Count:
    """Counts marks that open or close something, and those that have a partner.

    One that closes an outer mark leaves all in between without a partner; a mark that is open at
    the end has none.
    """
    opened: list[str] = []
    good = total = 0
    for opens, name in marks:
        total += 1
        if opens:
            opened.append(name)
        elif name in opened:
            while opened.pop() != name:
                pass
            good += 2
    return Count(good, total)


def quotes(text: str, within: str = "\n\n") -> Count:
    """Counts pieces of a text with straight double quotes, and those with an even number of them.

    Args:
        text: the text.
        within: the end of a piece: an empty line for prose, a line end for programs.
    """
    numbers = [piece.count('"') for piece in text.split(within)]
    return Count(sum(n > 0 and n % 2 == 0 for n in numbers), sum(n > 0 for n in numbers))


def words(text: str) -> Iterator[str]:
    """Yields the words of a text, in lower case."""
    return (match[0].lower() for match in _WORD.finditer(text))


def real_words(text: str, known: Collection[str]) -> Count:
    """Counts words, and those that are known, but for the last, which a sample may have cut."""
    found = list(words(text))[:-1]
    return Count(sum(word in known for word in found), len(found))


def closed_comments(text: str) -> Count:
    """Counts C comments, and those that end before the next begins."""
    begun = text.split("/*")[1:]
    return Count(sum("*/" in comment for comment in begun), len(begun))


def novelty(lines: Iterable[str], known: Collection[str]) -> LineNovelty:
    """Compares drawn lines, but for empty ones, with those that are known."""
    drawn = [line for line in lines if line]
    new = [line for line in drawn if line not in known]
    return LineNovelty(len(drawn), len(new), len(set(drawn)), len(set(new)))


# C

_SYNTAX = re.compile(
    r"error: (expected|stray|missing|unterminated|invalid suffix|unknown type name"
    r"|extraneous|.*(?:undeclared label|duplicate label|before|without a))"
)
_TYPE = re.compile(
    r"\b(?:\w+_t|(?:__)?[us](?:8|16|32|64)|__[bl]e(?:16|32|64)|u?int|ulong|ushort|bool|va_list"
    r"|Elf\w*_[A-Z]\w+|poll_table)\b(?!\()"
)
_MARK = re.compile(
    r"\b(?:__(?:user|kernel|iomem|percpu|rcu|force|\w*used|\w*init\w*)"
    r"|noinline|notrace|asmlinkage|const_debug)\b(?!\s*\()"
)
_MARK_OF_FUNCTION = re.compile(r"\b__\w+\b(?!\s*\()")
_LOCKS = re.compile(r"\b__(?:acquires|releases|must_hold)(?=\s*\()")
_SYSCALL = re.compile(r"\b(?:COMPAT_)?SYSCALL_DEFINE\d")
_FOR_EACH = re.compile(r"\b\w*(?i:for_each)\w*(?=\s*\()")
_OF_TYPE = re.compile(
    r"\b(?:container_of|\w*_entry\w*|\w*alloc_percpu\w*|va_arg|(?:min|max|clamp)_t)(?=\s*\()"
)
_STRING = re.compile(r'\b[A-Z][A-Z0-9_]+(?=\s*")|(?<=")\s*[A-Z][A-Z0-9_]+\b')


def _declared(function: str) -> list[str]:
    """Declares types and macros of missing headers, as far as their names tell what they are."""
    head, _, body = function.partition("{")
    types = {*_TYPE.findall(function)}
    marks = {*_MARK.findall(function), *_MARK_OF_FUNCTION.findall(head)} - types
    loops = {*_FOR_EACH.findall(body)}
    expressions = {name for name in _OF_TYPE.findall(body) if name not in head} - loops
    strings = {found.strip() for found in _STRING.findall(body)}
    return [
        *(f"typedef int {name};" for name in types),
        *(f"#define {name}" for name in marks),
        *(f"#define {name}(...)" for name in {*_LOCKS.findall(head)}),
        *(f"#define {name}(...) int system_call(void)" for name in _SYSCALL.findall(head)),
        *(f"#define {name}(...) for (;;)" for name in loops),
        *(f"#define {name}(...) 0" for name in expressions),
        *(f'#define {name} ""' for name in strings),
    ]


def compiler() -> str | None:
    """Returns a C compiler on the path that accepts C and rejects other text; None without one.

    macOS has a ``cc`` even without a compiler, which fails for any text.
    """
    found = filter(None, map(shutil.which, COMPILERS))
    return next((path for path in found if _works(path)), None)


def _works(path: str) -> bool:
    return parses("int f(void)\n{\n}", path) and not parses("int f(void)\n{\n\t(\n}", path)


def functions(text: str) -> list[str]:
    """Returns the C functions of a text: from a line that begins in the first column to a ``}``
    that does.

    One that the text's end cuts off does not count, nor does a macro or a table of values.
    """
    found = []
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith("}"):
            head = "\n".join(lines).partition("{")[0]
            if "(" in head and not set("=\\") & set(head):
                found.append("\n".join([*lines, line]))
            lines = []
        elif line.startswith(" */") or (_begins(line) and line.rstrip().endswith((";", ":"))):
            lines = []
        elif lines or _begins(line):
            lines.append(line)
    return found


def _begins(line: str) -> bool:
    """Whether it may be the first line of a declaration."""
    return line[:1] not in ("", " ", "\t", "{", "}", "#", "*", "/")


def parses(function: str, with_compiler: str) -> bool:
    """Whether a compiler's parser accepts a C function.

    A missing declaration or a wrong type is not a syntax error, nor is a macro of a missing header,
    as far as its name tells.
    """
    try:
        done = subprocess.run(
            [with_compiler, "-fsyntax-only", "-std=gnu11", "-w", "-x", "c", "-"],
            input="\n".join([*_declared(function), function, ""]),
            capture_output=True,
            text=True,
            timeout=COMPILER_SECONDS,
            check=False,
            # The messages are parsed: they must be in English.
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )
    except subprocess.TimeoutExpired:
        return False
    return not any(_SYNTAX.search(line) for line in done.stderr.splitlines())


def c_functions(text: str, with_compiler: str, most: int = 50) -> Count:
    """Counts functions, at most so many from all over a text, and those that a parser accepts."""
    found = functions(text)
    count = min(len(found), most)
    found = [found[n * len(found) // count] for n in range(count)]
    return Count(sum(parses(function, with_compiler) for function in found), len(found))
