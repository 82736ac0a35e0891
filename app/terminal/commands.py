"""The terminal's commands but for those on jobs, on a service that was found or started for them.

Text goes to standard output as it comes; messages about it go to standard error. Knows no command
line, nor how the service is found.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rich.filesize import decimal
from rich.text import Text

from app.supervisor.errors import UserError
from app.supervisor.installation import COMMAND
from app.terminal import drawing, texts
from app.terminal.client import Client
from app.terminal.output import console, day, note, number, printable, table, tell, write
from app.terminal.problems import WORDS
from app.terminal.wrapping import Wrapping

_POLL = 0.5
"""Seconds between two questions whether cells are ranked."""


def sample(client: Client, fields: Mapping[str, Any]) -> None:
    """Writes a text as it comes; a terminal gets it in lines that break between words."""
    paper = Wrapping(_columns) if sys.stdout.isatty() else None
    last = ""
    try:
        for text in texts.text(client, fields):
            last = text
            write(paper.feed(printable(text)) if paper else text)
    except UserError as error:
        if not last:
            raise
        _end_line(paper, last)
        raise UserError(f"the text ends early: {error}") from None
    _end_line(paper, last)


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _end_line(paper: Wrapping | None, last: str) -> None:
    """Ends a text's last line in a terminal, where a message may follow."""
    if paper:
        write(paper.end() + ("" if last.endswith("\n") else "\n"))


def names(client: Client, fields: Mapping[str, Any]) -> None:
    """Writes names, one a line, each as it is found."""
    found = 0
    try:
        for name in texts.names(client, fields):
            write(f"{printable(name) if sys.stdout.isatty() else name}\n")
            found += 1
    except UserError as error:
        if not found:
            raise
        raise UserError(f"the list ends early: {error}") from None
    asked = int(fields.get("count", 10))
    if found < asked:
        tell(f"found {found} of {asked}: more like these are rare, or there are none")


def models(client: Client, only: str | None = None) -> None:
    """Lists models, or only the tags of one."""
    rows = []
    for model in client.pages("/models", "models"):
        if only not in (None, model["name"], model["model"]):
            continue
        config = model["config"]
        rows.append(
            (
                model["model"],
                f"{model['network']} {config['num_layers']}x{config['hidden_size']}",
                f"{model['parameters']:,}",
                _counted(model),
                number(model["val_loss"]),
                number(model["bpc"]),
                day(model["created_at"]),
            )
        )
        # A service of an earlier release knows of none.
        if styles := model.get("styles"):
            note(f"note: {model['model']} has the styles {', '.join(styles)}")
        for wrong in model["damaged"]:
            note(f"note: {model['model']}: the newest checkpoint is damaged: {wrong}")
    damaged = [
        one
        for one in client.pages("/models", "damaged")
        if only in (None, one["name"], one["model"])
    ]
    for one in damaged:
        note(f"note: {one['model']} is damaged: {one['detail']}")
    if only is not None and not rows and not damaged:
        raise UserError(WORDS["unknown_model"])
    head = ("MODEL", "NETWORK", "PARAMETERS", "N-GRAMS", "LOSS", "BPC", "CREATED")
    table(head, rows, f"no models yet; {COMMAND} train FILE --model NAME trains one")


def _counted(model: Mapping[str, Any]) -> str:
    """Describes the n-gram table beside a network: lengths of its contexts, and its size.

    In few words: a line for each model of those that ship fits into 80 columns.
    """
    # A service of an earlier release knows of none.
    if not (orders := model.get("ngram_orders")):
        return "-"
    return f"1-{orders} {decimal(model['table_bytes'])}"


def download(client: Client, model: str, file: Path) -> None:
    """Saves a model to a file, which appears whole or not at all."""
    kind = file.suffix.lower().removeprefix(".")
    if kind not in ("zip", "onnx", "html"):
        raise UserError(
            "--download needs the name of a .zip (whole model), an .onnx (network only) or an "
            ".html (a page that writes by itself)"
        )
    staged = file.with_name(f".{file.name}.part")
    try:
        with staged.open("wb") as out:
            client.save(f"/models/{model}/download", {"format": kind}, out)
        staged.replace(file)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            staged.unlink()
    tell(f"{file} holds {model}, {file.stat().st_size:,} bytes")


def import_model(client: Client, model: str, archive: IO[bytes]) -> None:
    """Uploads a model that was downloaded from some service."""
    name = client.upload(f"/models/{model}", {}, archive)["model"]
    tell(f"{name} is imported; {COMMAND} sample --model {name} writes with it")


def rename_model(client: Client, model: str, new: str) -> None:
    """Gives a model another name."""
    name = client.patch(f"/models/{model}", {"name": new})["name"]
    tell(f"{model} is {name} now, with all of its tags and its ended jobs")


def inspect(
    client: Client, text: str, model: str, tracks: str | None, fields: Mapping[str, Any]
) -> None:
    """Shows a text as a model reads it: coloured by a cell, or with the guesses for what follows.

    Args:
        client: of the service.
        text: no longer than the service reads.
        model: the model that reads it.
        tracks: name of a hypothesis, whose best cell colours the text.
        fields: of the request; if ``top`` is left out, guesses are shown only without a cell.
    """
    asked = {"text": text, **fields}
    if tracks:
        best = _tracking(client, model, tracks)
        asked |= {"layer": best["layer"], "cells": [best["cell"]]}
    if "cells" in asked:
        asked.setdefault("top", 0)
    answer = client.post(f"/models/{model}/inspect", asked)
    _draw(drawing.inspection, answer)
    cells = "".join(f", layer {answer['layer']} cell {cell}" for cell in answer["cells"])
    bits = f"{answer['loss']:.3f} nats, {answer['bpc']:.3f} bits a character"
    tell(f"{answer['model']}{cells}: {bits}")


def _draw(picture: Callable[..., Iterator[Text]], answer: Mapping[str, Any]) -> None:
    """Prints a drawing of an answer, as wide and as coloured as standard output can show it."""
    screen = console(sys.stdout)
    has_shades = screen.color_system in ("256", "truecolor")
    for line in picture(answer, screen.width, bars=not has_shades):
        if screen.color_system is None:
            line.rstrip()
        screen.print(line, soft_wrap=True)


def _tracking(client: Client, model: str, name: str) -> Mapping[str, Any]:
    found = {one["name"]: one["cells"][0] for one in ranking(client, model)["hypotheses"]}
    if name not in found:
        names = f"its cells track {', '.join(found)}" if found else "its cells track nothing"
        raise UserError(f"no cell of {model} tracks {name}; {names}")
    best: Mapping[str, Any] = found[name]
    return best


def cells(client: Client, model: str) -> None:
    """Shows what a model's cells track."""
    _draw(drawing.ranking, ranking(client, model))


def ranking(client: Client, model: str) -> dict[str, Any]:
    """Returns what a model's cells track, once it is computed."""
    told = False
    while True:
        answer: dict[str, Any] = client.get(f"/models/{model}/cells")
        if answer["hypotheses"] is not None:
            return answer
        if not told and sys.stderr.isatty():
            tell("ranking the cells, once; this takes a moment")
            told = True
        time.sleep(_POLL)


def score(client: Client, text: str, models: Sequence[str], style: str | None = None) -> None:
    """Shows which model predicts a text best, all of them in a style if one is given."""
    asked = {"text": text, "models": models} | ({"style": style} if style else {})
    answer = client.post("/score", asked)
    rows = []
    for one in answer["scores"]:
        best = "best" if one["model"] == answer["best"] else ""
        unknown = str(one["unknown"])
        rows.append((one["model"], number(one["loss"]), number(one["bpc"]), unknown, best))
    table(("MODEL", "LOSS", "BPC", "UNKNOWN", ""), rows, "no models")


@contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """Opens a file, or standard input for ``-``. Raises UserError."""
    with ExitStack() as held:
        if str(file) == "-":
            text = sys.stdin.buffer
            try:
                # A closed one or a folder fails before anything is started for it.
                os.read(text.fileno(), 0)
            except OSError as error:
                raise UserError(f"cannot read standard input: {error.strerror}") from None
            yield text
            return
        try:
            text = held.enter_context(file.open("rb"))
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from None
        yield text
