"""The docs name what is there, all of it, and nothing that is gone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic_settings import BaseSettings

from app.cli import cli
from app.http.problems import CODES
from app.main import create_app
from app.settings import ServerSettings
from bench.__main__ import cli as bench

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
COMMANDS = ROOT / "docs" / "commands.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

HANDED_ON = {f"CHARLOOM_{name}" for name in ("CACHE", "GPUS", "LEASE", "LOCK", "WORKER_PID")}
"""From a worker to the process that it starts; nobody else sets them."""


# Settings


def variables_read() -> set[str]:
    """Every ``CHARLOOM_…`` variable that the code or a container file reads."""
    fields = {f"CHARLOOM_{name.upper()}" for name in ServerSettings.model_fields}
    sources = [
        *(path for folder in ("app", "worker", "models") for path in (ROOT / folder).rglob("*.py")),
        ROOT / "charloom",
        ROOT / "docker-compose.yml",
        ROOT / "Dockerfile",
    ]
    named = {
        name
        for path in sources
        for name in re.findall(r"\bCHARLOOM_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    return (fields | named) - HANDED_ON


def test_every_variable_is_documented_and_each_documented_one_is_read() -> None:
    assert issubclass(ServerSettings, BaseSettings)
    documented = set(re.findall(r"\bCHARLOOM_[A-Z_]*[A-Z]\b", README))
    assert documented == variables_read()


# Commands


def commands() -> Iterator[tuple[str, Any]]:
    """Each command of ``./charloom`` with its full name."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for child in sorted(name for name, one in children.items() if not one.hidden):
            yield from below(f"{name} {child}".strip(), children[child])

    # The launcher runs the bench, which is not part of a package.
    ours = [*below("", typer.main.get_command(cli)), ("bench", typer.main.get_command(bench))]
    yield from sorted(ours, key=lambda one: one[0])


def parameters(command: Any) -> list[Any]:
    return [one for one in command.params if one.name != "help" and not getattr(one, "hidden", 0)]


def reference() -> str:
    """``docs/commands.md``, from the commands themselves."""
    parts = [
        "# The commands\n\n"
        "Made from `./charloom COMMAND --help` by `./charloom test tests/whole/test_docs.py "
        "--rewrite-docs`. `./charloom test` runs the linters, the type checker and the tests and "
        "passes its arguments to pytest. Only a clone has `test` and `bench`.\n"
    ]
    for name, command in commands():
        parts.append(f"\n## ./charloom {name}\n\n{one_line(command.help)}\n")
        rows = [row(parameter) for parameter in parameters(command)]
        if rows:
            parts.append("\n| Argument or option | Meaning | Default |\n| --- | --- | --- |\n")
            parts += rows
    return "".join(parts)


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def row(parameter: Any) -> str:
    meaning = one_line(parameter.help).replace("|", "\\|")
    choices = get_args(parameter.type_descriptor.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    if parameter.min is not None and parameter.max is not None:
        meaning += f" From {parameter.min} to {parameter.max}."
    default = parameter.default
    is_told = isinstance(default, str | int | float) and not isinstance(default, bool)
    shown = f"`{default}`" if is_told else ""
    name = ", ".join(parameter.opts)
    return f"| `{name}` | {meaning.strip()} | {shown} |\n"


def test_each_command_and_option_is_documented(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--rewrite-docs"):
        COMMANDS.write_text(reference(), encoding="utf-8")
    written = COMMANDS.read_text(encoding="utf-8")
    assert written == reference(), "run ./charloom test tests/whole/test_docs.py --rewrite-docs"


def test_each_option_says_what_it_is_for() -> None:
    silent = [
        f"{name} {parameter.name}"
        for name, command in commands()
        for parameter in parameters(command)
        if not one_line(parameter.help)
    ]
    assert silent == []


def test_readme_and_launcher_name_each_command() -> None:
    usage = (ROOT / "charloom").read_text(encoding="utf-8")
    for name in {name.split()[0] for name, _ in commands()}:
        assert re.search(rf"^  {name}\b", usage, re.M), name
        assert f"./charloom {name}" in README or f"`{name}`" in API, name


# Endpoints and codes


def test_each_endpoint_is_in_the_contract() -> None:
    text = re.sub(r"\{\w+\}", "{}", API)
    for path, operations in create_app(ServerSettings()).openapi()["paths"].items():
        plain = re.sub(r"\{\w+\}", "{}", path)
        for method in operations:
            named = rf"{method.upper()} {re.escape(plain)}(?![\w/{{])"
            listed = rf"`{re.escape(path)}`"
            found = re.search(named, text) or re.search(listed, API)
            assert found, f"{method.upper()} {path}"


def test_the_contract_lists_each_code_of_a_problem() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", API.split("## Training")[0], re.M))
    assert listed == CODES


# Files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    places = r"\b(?:app|worker|models|tests|bench|docs|pretrained)/[\w./-]+\.(?:py|js|md|css|gz)\b"
    gone = {path for path in re.findall(places, text) if not (ROOT / path).exists()}
    links = set(re.findall(r"\]\(([\w./-]+\.\w+)\)", text))
    gone |= {link for link in links if not (page.parent / link).exists()}
    assert gone == set()


def names_in(path: Path) -> set[str]:
    """Dotted names of our modules, or of what is in them, that a docstring or comment has."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r"``((?:app|worker|models|tests|bench)(?:\.\w+)+)``", text))


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or is defined or assigned in one."""
    if name.startswith("app.state."):
        # FastAPI's, not a module.
        return True
    *parts, last = name.split(".")
    place = ROOT.joinpath(*parts, last)
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    while parts:
        module = ROOT.joinpath(*parts).with_suffix(".py")
        if module.is_file():
            return re.search(rf"\b{last}\b", module.read_text(encoding="utf-8")) is not None
        parts.pop()
    return False


def test_each_module_that_the_code_names_is_there() -> None:
    folders = ("app", "worker", "models", "tests", "bench")
    gone = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for name in names_in(path)
        if not is_there(name)
    }
    assert gone == set()
