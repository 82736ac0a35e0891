"""The options of ``./charloom train``, made from those of ``models.options``.

Names, types, defaults, bounds and help come from there. Knows no service.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from typing import Any, get_args, get_type_hints

import typer

from models.options import Bounds, TrainingOptions

OPTIONS = {
    option.name: option
    for option in fields(TrainingOptions)
    # Which parts a text has, the command knows when it has read its files.
    if option.metadata and option.name != "styles"
}
"""Those that a user may set, in the order of the help."""

_PANELS = {
    "network": "Network",
    "batch_size": "Training",
    "max_epochs": "End of training",
    "tokens": "Text and samples",
    "init_from": "Start",
    "devices": "Where",
}
"""Headings in the help, by the option that is the first below each."""

_STEPS = tuple[int, ...]
_WORD_OR_NUMBER = {"devices"}
_LARGEST_SHOWN = 1_000_000
"""A larger bound would only widen the help: it is left to the service."""


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which gets those that are given as ``**options``."""

    def called(**given: Any) -> None:
        options = {name: given.pop(name) for name in OPTIONS}
        command(**given, **{k: v for k, v in options.items() if v is not None})

    own = inspect.signature(command)
    parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*parameters, *_parameters()]
    )
    return called


def _parameters() -> Iterator[inspect.Parameter]:
    hints = get_type_hints(TrainingOptions)
    panel = None
    for name, option in OPTIONS.items():
        panel = _PANELS.get(name, panel)
        kind = hints[name]
        if _STEPS in (kind, *get_args(kind)) or name in _WORD_OR_NUMBER:
            # On the command line a text such as 100,300 or all, which the service parses.
            kind = str
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_as_typer(option, kind, panel),
            annotation=kind | None,
        )


def _as_typer(option: Field[Any], kind: Any, panel: str | None) -> Any:
    is_number = bool({int, float} & {kind, *get_args(kind)})
    bounds: Bounds = option.metadata["bounds"] if is_number else Bounds()
    return typer.Option(
        None,
        help=f"{option.metadata['help']}{_default(option.default)}",
        rich_help_panel=panel,
        min=bounds.at_least,
        max=bounds.at_most if (bounds.at_most or 0) < _LARGEST_SHOWN else None,
    )


def _default(value: Any) -> str:
    if value in (None, ""):
        return ""
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
    return f" Default: {shown}."
