"""Imports point down: app to the worker's torch-free contract and models, worker to models."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("app", "worker", "models")
SERVICES = {"fastapi", "starlette", "uvicorn", "redis", "rq", "pydantic", "typer"}


def modules(package: str) -> list[str]:
    """Dotted names of the package's modules, itself among them."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / package).rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def is_trainer(module: str) -> bool:
    return module == "worker.trainer" or module.startswith("worker.trainer.")


# A server may import all of the worker but its trainer, and what starts one.
CONTRACT = [m for m in modules("worker") if not is_trainer(m) and m != "worker.__main__"]


def is_training(module: str) -> bool:
    return module == "models.training" or module.startswith("models.training.")


EVERY = [module for package in OURS for module in modules(package)]


def source(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imports(tree: ast.Module, module: str) -> Iterator[str]:
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


def forbidden(module: str, name: str) -> bool:
    package, _, _ = module.partition(".")
    top, _, _ = name.partition(".")
    if package == "models":
        return top in {"app", "worker", *SERVICES}
    if package == "worker":
        return top in {"app", "fastapi", "starlette", "uvicorn"} or (
            module in CONTRACT and (is_training(name) or top == "torch" or is_trainer(name))
        )
    if top == "worker":
        return name not in CONTRACT
    return is_training(name) or top == "torch"


@pytest.mark.parametrize("module", EVERY)
def test_imports_point_down(module: str) -> None:
    names = set(imports(source(module), module))
    assert {name for name in names if forbidden(module, name)} == set()


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
    assert names >= {
        "worker.trainer.stop",
        "worker.queue",
        "models.training",
        "models.training.planning",
        "app",
        "models.training.network",
    }
    assert {name for name in names if forbidden("app.main", name)} == {
        "worker.trainer.stop",
        "models.training",
        "models.training.planning",
        "models.training.network",
    }
    assert forbidden("models.text.corpus", "redis.client")
    assert forbidden("worker.trainer.stop", "app.settings")
    assert forbidden("worker.queue", "torch.nn")
    assert not forbidden("worker.trainer.stop", "models.training.trainer")


def loaded_by(statement: str) -> set[str]:
    """What is in memory after a statement, in a Python of its own."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["app.main", *CONTRACT])
def test_the_server_never_loads_torch(module: str) -> None:
    """It would cost each process half a gigabyte, and a forked worker its life."""
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert not {name for name in loaded if name == "torch" or is_training(name)}
