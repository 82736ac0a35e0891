"""The terminal's commands but for those on jobs, on a service that was found or started for them.

Text goes to standard output as it comes; messages about it go to standard error. Knows no command
line, nor how the service is found.
"""

import codecs
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from rich.filesize import decimal
from rich.text import Text

from app.http.problems import Problem
from app.http.validation import validated
from app.schemas.common import MAX_TEXT
from app.schemas.training import TrainForm
from app.supervisor.errors import UserError
from app.terminal import drawing, texts
from app.terminal.client import Client
from app.terminal.output import console, day, duration, note, number, printable, table, tell, write
from app.terminal.problems import WORDS, explained, in_options
from models.text.cleaning import CorpusError, NotUtf8, refuse_at_once
from models.text.encodings import explained as explained_file
from worker.corpora import CorpusStore

_POLL = 0.5
"""Seconds between two questions whether cells are ranked."""

_BLOCK = 1 << 20


def sample(client: Client, fields: Mapping[str, Any]) -> None:
    """Writes a text as it comes."""
    is_terminal = sys.stdout.isatty()
    last = ""
    try:
        for text in texts.text(client, fields):
            last = printable(text) if is_terminal else text
            write(last)
    except UserError as error:
        if not last:
            raise
        _end_line(last)
        raise UserError(f"the text ends early: {error}") from None
    _end_line(last)


def _end_line(last: str) -> None:
    """Ends a text's last line in a terminal, where a message may follow."""
    if sys.stdout.isatty() and not last.endswith("\n"):
        write("\n")


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
    table(head, rows, "no models yet; ./charloom train FILE --model NAME trains one")


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
    tell(f"{name} is imported; ./charloom sample --model {name} writes with it")


def inspect(
    client: Client, text: IO[bytes], model: str, tracks: str | None, fields: Mapping[str, Any]
) -> None:
    """Shows a text as a model reads it: coloured by a cell, or with the guesses for what follows.

    Args:
        client: of the service.
        text: only its beginning is read.
        model: the model that reads it.
        tracks: name of a hypothesis, whose best cell colours the text.
        fields: of the request; if ``top`` is left out, guesses are shown only without a cell.
    """
    asked = {"text": _beginning(text), **fields}
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


def score(client: Client, text: IO[bytes], models: Sequence[str]) -> None:
    """Shows which model predicts a text best."""
    answer = client.post("/score", {"text": _beginning(text), "models": models})
    rows = []
    for one in answer["scores"]:
        best = "best" if one["model"] == answer["best"] else ""
        unknown = str(one["unknown"])
        rows.append((one["model"], number(one["loss"]), number(one["bpc"]), unknown, best))
    table(("MODEL", "LOSS", "BPC", "UNKNOWN", ""), rows, "no models")


def _beginning(text: IO[bytes]) -> str:
    """Returns as much of a text as the service reads. Raises UserError."""
    # One more than the service reads, each of up to 4 bytes, and a byte-order mark.
    data = text.read(4 * (MAX_TEXT + 2))
    try:
        # Line ends stay as they are: a bytes model was trained on them.
        read = codecs.getincrementaldecoder("utf-8-sig")().decode(data, len(data) < 4 * MAX_TEXT)
        refuse_at_once(io.BytesIO(data))
    except UnicodeDecodeError as error:
        found = explained_file(io.BytesIO(data), error.start)
        raise _not_utf8(NotUtf8(error.start, found)) from None
    except NotUtf8 as error:
        raise _not_utf8(error) from None
    if len(read) > MAX_TEXT:
        note(f"note: only the first {MAX_TEXT:,} characters are read")
    return read[:MAX_TEXT]


def _not_utf8(error: NotUtf8) -> UserError:
    """Returns what is wrong, but for the advice to train on the bytes."""
    return UserError(str(error).partition(", or pass")[0])


def check(text: IO[bytes], fields: Mapping[str, Any]) -> int:
    """Reports on a text as the service would read it, keeping nothing.

    Returns the exit code: not 0 if ``train`` would refuse the text or an option. What only the
    service knows, such as its memory, is not checked.
    """
    try:
        options = validated(TrainForm, fields).options()
    except Problem as problem:
        errors = [error.model_dump() for error in problem.errors]
        wrong = {"code": problem.code, "detail": problem.detail, "errors": errors}
        raise UserError(explained(wrong)) from None
    with tempfile.TemporaryDirectory() as directory:
        corpora = CorpusStore(Path(directory))
        with corpora.upload() as upload:
            while block := text.read(_BLOCK):
                upload.write(block)
            try:
                report = asdict(corpora.add(upload, options.symbols)[1])
            except CorpusError as error:
                report = {"bytes": upload.bytes, "warnings": [str(error)]}
    for line in described(report):
        write(f"{printable(in_options(line))}\n")
    return 1 if report.get("characters") is None else 0


def described(report: Mapping[str, Any]) -> Iterator[str]:
    """Yields a corpus's report for people, a line a fact."""

    def fact(name: str, value: object) -> str:
        return f"{name + ':':<19}{value}"

    size = report["bytes"]
    yield fact("bytes", f"{size:,}")
    if report.get("characters") is None:
        yield fact("can be trained on", "no")
    else:
        symbols = "bytes" if report["encoding"] == "bytes" else "characters"
        yield fact("read as", f"{symbols} ({report['encoding']}), line ends {report['line_ends']}")
        yield fact(symbols, f"{report['characters']:,}, {report['distinct']:,} distinct")
        yield fact("lines", f"{report['lines']:,}")
    if (share := report.get("duplicate_line_share")) is not None:
        yield fact("repeated lines", f"{share:.0%}")
    for change in report.get("normalised", []):
        yield fact("changed", change)
    if rare := report.get("rare"):
        shown = " ".join(f"{one['char']!r}" for one in rare[:20])
        more = f" and {len(rare) - 20} more" if len(rare) > 20 else ""
        yield fact("rare", f"{shown}{more}")
    for one in report.get("invisible", []):
        yield fact("invisible", f"{one['name']}, {one['count']:,} times")
    if preset := report.get("preset"):
        yield fact("preset", preset)
    if (seconds := report.get("estimated_seconds")) is not None:
        yield fact("would take", f"about {duration(seconds)}")
    for warning in report.get("warnings", []):
        yield fact("note", warning)


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
