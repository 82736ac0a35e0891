"""The floor plan, held: what imports what, how large things are, and that names are told apart.

``CONTRIBUTING.md`` draws the plan. Imports point down: app to worker to models, and within app
from each floor to the floors below.
"""

import ast
import functools
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("app", "worker", "models")
SERVICES = {"fastapi", "starlette", "uvicorn", "redis", "rq", "pydantic", "typer"}

FLOORS = (
    {"http", "engine", "supervisor", "launcher"},
    {"access", "schemas"},
    {"settings", "terminal"},
    {"routes", "essay", "server"},
    {"main", "cli"},
    {"__main__"},
)
"""Of app, from the ground up. A module imports its own folder and the floors below."""

MAX_MODULE, MAX_CLASS, MAX_FUNCTION = 500, 300, 60
"""Lines. For JavaScript the linter holds the same (``biome.json``)."""


def modules(package: str) -> list[str]:
    """Dotted names of the package's modules, itself among them."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / package).rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def is_below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


EVERY = [module for package in OURS for module in modules(package)]
# The server may import all of the worker but its trainer, and the process that starts one.
TORCH_FREE = [
    module
    for module in modules("worker")
    if not is_below(module, "worker.trainer") and module != "worker.__main__"
]


def path_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def source(module: str) -> ast.Module:
    return parsed(path_of(module))


def imports(tree: ast.AST, module: str) -> Iterator[str]:
    """Every name that is imported anywhere in a module, in full.

    ``from a import b`` gives ``a.b`` if that is a module of ours, and ``a``.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Our code has no relative imports; resolved here so that none can hide.
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{a.name}" for a in node.names if f"{base}.{a.name}" in EVERY)


@functools.cache
def imported_by(module: str) -> frozenset[str]:
    return frozenset(imports(source(module), module))


def forbidden(module: str, name: str) -> bool:
    package, _, _ = module.partition(".")
    top, _, _ = name.partition(".")
    is_torch = top == "torch" or is_below(name, "models.training")
    if package == "models":
        torch_alone = top == "torch" and not is_below(module, "models.training")
        return top in {"app", "worker", *SERVICES} or torch_alone
    if package == "worker":
        if top in {"app", "fastapi", "starlette", "uvicorn"}:
            return True
        return module in TORCH_FREE and (is_torch or is_below(name, "worker.trainer"))
    if top == "worker":
        return name not in TORCH_FREE
    return is_torch


@pytest.mark.parametrize("module", EVERY)
def test_imports_point_down(module: str) -> None:
    assert {name for name in imported_by(module) if forbidden(module, name)} == set()


def floor_of(module: str) -> int:
    room = module.split(".")[1]
    return next(floor for floor, rooms in enumerate(FLOORS) if room in rooms)


def climbs(module: str, name: str) -> bool:
    """Whether a module of app imports another room of its own floor or one above."""
    if not name.startswith("app."):
        return False
    is_home = module.split(".")[1] == name.split(".")[1]
    return not is_home and floor_of(name) >= floor_of(module)


@pytest.mark.parametrize("module", [m for m in modules("app") if m != "app"])
def test_no_room_of_app_imports_one_above_or_beside(module: str) -> None:
    assert {name for name in imported_by(module) if climbs(module, name)} == set()


def test_no_route_imports_another() -> None:
    """What routes share stands in modules without a router."""
    routed = {
        module
        for module in modules("app")
        if is_below(module, "app.routes")
        and any(
            isinstance(node, ast.Assign)
            and any(
                isinstance(target, ast.Name) and target.id == "router" for target in node.targets
            )
            for node in source(module).body
        )
    }
    assert len(routed) > 10
    for module in routed:
        assert imported_by(module) & routed == set(), module


def test_no_import_comes_back() -> None:
    """A circle would be found by the first who imports its modules in another order."""
    needs = {
        module: {
            name
            for name in imported_by(module)
            if name in EVERY and name != module and path_of(name).name != "__init__.py"
        }
        for module in EVERY
    }
    while leaves := [module for module, names in needs.items() if not names]:
        for leaf in leaves:
            del needs[leaf]
        for names in needs.values():
            names.difference_update(leaves)
    assert needs == {}


def test_no_class_name_is_defined_twice() -> None:
    places = defaultdict(list)
    for module in EVERY:
        for node in ast.walk(source(module)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def python_files() -> list[Path]:
    folders = (*OURS, "tests", "bench")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def definitions(within: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Classes and functions, also those in others."""
    for node in ast.iter_child_nodes(within):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        # No expression holds one, and most of a module are expressions.
        if not isinstance(node, ast.expr):
            yield from definitions(node)


def oversized(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    if (lines := len(text.splitlines())) > MAX_MODULE:
        yield f"{name}: {lines} lines"
    for node in definitions(parsed(path)):
        assert node.end_lineno
        lines = node.end_lineno - node.lineno + 1
        if lines > (MAX_CLASS if isinstance(node, ast.ClassDef) else MAX_FUNCTION):
            yield f"{name}: {node.name} has {lines} lines"


def test_nothing_grows_too_large() -> None:
    assert [found for path in python_files() for found in oversized(path)] == []


def test_each_module_with_logic_has_tests_of_its_name() -> None:
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    untested = [
        module
        for module in EVERY
        if path_of(module).name not in ("__init__.py", "__main__.py")
        and any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(source(module))
        )
        and module.rpartition(".")[2] not in tested
    ]
    assert untested == []


def test_folders_of_tests_are_no_packages() -> None:
    """With one, a folder named models would hide the package of that name."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("module", modules("models"))
def test_models_reads_no_environment(module: str) -> None:
    used: set[str] = set()
    for node in ast.walk(source(module)):
        if isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            used |= {alias.name for alias in node.names}
    assert not used & {"environ", "environb", "getenv"}


def test_the_rule_knows_what_it_forbids() -> None:
    """Rules that let everything through pass as well."""
    tree = ast.parse(
        "def late():\n import worker.trainer.stop\n"
        "from worker import queue\nfrom models.training import planning\n"
        "from . import cli\nfrom ..models.training.network import State"
    )
    names = set(imports(tree, "app.main"))
    assert {name for name in names if forbidden("app.main", name)} == {
        "worker.trainer.stop",
        "models.training",
        "models.training.planning",
        "models.training.network",
    }
    assert names >= {"worker.queue", "app"}
    assert forbidden("models.text.corpus", "redis.client")
    assert forbidden("models.text.corpus", "torch")
    assert forbidden("worker.trainer.stop", "app.settings")
    assert forbidden("worker.queue", "torch.nn")
    assert forbidden("worker.queue", "worker.trainer.handover")
    assert not forbidden("worker.trainer.session", "models.training.trainer")
    assert climbs("app.http.problems", "app.schemas.common")
    assert climbs("app.terminal.client", "app.settings")
    assert not climbs("app.routes.sample", "app.routes.texts")
    assert not climbs("app.main", "app.routes.sample")


def loaded_by(statement: str) -> set[str]:
    """What is in memory after a statement, in a Python of its own."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_the_server_never_loads_torch() -> None:
    """It would cost each process half a gigabyte, and a forked worker its life."""
    ours = {"app.main", *TORCH_FREE}
    loaded = loaded_by(f"import {', '.join(sorted(ours))}")
    assert ours <= loaded
    assert not {name for name in loaded if name == "torch" or is_below(name, "models.training")}


def test_the_terminal_never_loads_the_server() -> None:
    """A command would take twice as long to start; those that need its schemas load them late."""
    loaded = loaded_by("import app.cli")
    assert "app.terminal.commands" in loaded
    assert not loaded & {"fastapi", "starlette", "redis", "chardet", "numpy"}
