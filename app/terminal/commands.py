"""What the terminal's commands do with a service that was found or started for them.

Text goes to standard output as it comes; what is about it goes to standard error. Knows no
command line and not how the service is found.
"""

import io
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from app.schemas.common import MAX_TEXT
from app.terminal import drawing
from app.terminal.client import ApiError, Client
from app.terminal.output import Failed, day, number, screen, table, tell, write
from app.terminal.progress import duration, printable
from worker.corpora import CorpusStore

_PAUSE = 0.5
_BLOCK = 1 << 20


def sample(client: Client, fields: Mapping[str, Any]) -> None:
    """Writes a text as it comes."""
    is_terminal = sys.stdout.isatty()
    last = ""
    for event in client.events("POST", "/sample", fields):
        if event.name == "text":
            text = printable(event.data["text"]) if is_terminal else event.data["text"]
            write(text)
            last = text or last
        elif event.name == "end":
            if is_terminal and not last.endswith("\n"):
                write("\n")
            _explain(event.data["finish_reason"])
            return
    raise ApiError("the text broke off")


def _explain(finish_reason: str) -> None:
    if finish_reason == "shutdown":
        raise Failed("the text ends here because the service stops")
    if finish_reason == "error":
        raise Failed("the text ends here: the network's output is no number")


def names(client: Client, fields: Mapping[str, Any]) -> None:
    """Writes names, one a line, each as it is found."""
    found = 0
    for name in client.lines("/names", fields):
        write(f"{printable(name) if sys.stdout.isatty() else name}\n")
        found += 1
    asked = int(fields.get("count", 10))
    if found < asked:
        tell(f"found {found} of {asked}: there seem to be no more of the kind")


def models(client: Client, only: str | None = None) -> None:
    """Lists models; of one alone if it is named, all its tags."""
    rows = [("MODEL", "NETWORK", "PARAMETERS", "LOSS", "BPC", "CREATED")]
    for model in client.pages("/models", "models"):
        if only not in (None, model["name"], model["model"]):
            continue
        config = model["config"]
        rows.append(
            (
                model["model"],
                f"{model['network']} {config['num_layers']}x{config['hidden_size']}",
                f"{model['parameters']:,}",
                number(model["val_loss"]),
                number(model["bpc"]),
                day(model["created_at"]),
            )
        )
    table(rows, "no models yet: ./charloom train FILE --model NAME makes one")


def download(client: Client, model: str, file: Path) -> None:
    """Writes a model to a file, which is there whole or not at all."""
    kind = file.suffix.lower().removeprefix(".")
    if kind not in ("zip", "onnx"):
        raise Failed(f"what is {file} to be? A .zip is the whole model, an .onnx its network")
    staged = file.with_name(f".{file.name}.part")
    try:
        with staged.open("wb") as out:
            client.save(f"/models/{model}/download", {"format": kind}, out)
        staged.replace(file)
    except OSError as error:
        raise Failed(f"cannot write {file}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            staged.unlink()
    tell(f"{file} holds {model}, {file.stat().st_size:,} bytes")


def bring(client: Client, model: str, archive: IO[bytes]) -> None:
    """Sends a model that was downloaded somewhere."""
    brought = client.upload(f"/models/{model}", {}, archive)
    tell(f"{brought['model']} is here; ./charloom sample --model {brought['model']} writes with it")


def inspect(
    client: Client, text: IO[bytes], model: str, tracks: str | None, fields: Mapping[str, Any]
) -> None:
    """Shows a text as a model reads it: coloured by a cell, with the guesses for what comes next.

    Args:
        client: of the service.
        text: its beginning is enough.
        model: who reads it.
        tracks: a hypothesis, by its name, whose best cell colours the text.
        fields: of the request; without ``top`` there are guesses where no cell is asked for.
    """
    asked = {"text": _beginning(text), **fields}
    if tracks:
        best = _tracking(client, model, tracks)
        asked |= {"layer": best["layer"], "cells": [best["cell"]]}
    if "cells" in asked:
        asked.setdefault("top", 0)
    answer = client.post(f"/models/{model}/inspect", asked)
    for line in drawing.inspection(answer, *screen()):
        write(f"{line}\n")
    cells = "".join(f", layer {answer['layer']} cell {cell}" for cell in answer["cells"])
    bits = f"{answer['loss']:.3f} nats, {answer['bpc']:.3f} bits a character"
    tell(f"{answer['model']}{cells}: {bits}")


def _tracking(client: Client, model: str, name: str) -> Mapping[str, Any]:
    found = {one["name"]: one["cells"][0] for one in ranking(client, model)["hypotheses"]}
    if name not in found:
        names = f"some track {', '.join(found)}" if found else "none tracks anything"
        raise Failed(f"no cell of {model} tracks {name}; {names}")
    best: Mapping[str, Any] = found[name]
    return best


def cells(client: Client, model: str) -> None:
    """Shows what a model's cells keep track of."""
    for line in drawing.ranking(ranking(client, model), *screen()):
        write(f"{line}\n")


def ranking(client: Client, model: str) -> dict[str, Any]:
    """What a model's cells track, waited for until it is computed."""
    told = False
    while True:
        answer: dict[str, Any] = client.get(f"/models/{model}/cells")
        if answer["hypotheses"] is not None:
            return answer
        if not told and sys.stderr.isatty():
            tell("looking for what the cells do: it takes a moment, once")
            told = True
        time.sleep(_PAUSE)


def score(client: Client, text: IO[bytes], models: Sequence[str]) -> None:
    """Shows which model expects a text most."""
    answer = client.post("/score", {"text": _beginning(text), "models": models})
    rows = [("MODEL", "LOSS", "BPC", "UNKNOWN", "")]
    for one in answer["scores"]:
        best = "best" if one["model"] == answer["best"] else ""
        unknown = str(one["unknown"])
        rows.append((one["model"], number(one["loss"]), number(one["bpc"]), unknown, best))
    table(rows, "no models")


def _beginning(text: IO[bytes]) -> str:
    """As much of a text as the service reads. Raises Failed."""
    try:
        # Line ends as they are: a bytes model has read them so.
        read = io.TextIOWrapper(text, "utf-8-sig", newline="").read(MAX_TEXT + 1)
    except UnicodeDecodeError:
        raise Failed("the text is not UTF-8") from None
    if len(read) > MAX_TEXT:
        tell(f"note: only the first {MAX_TEXT:,} characters are read")
    return read[:MAX_TEXT]


def check(text: IO[bytes]) -> bool:
    """Says what a text is, as the service would, keeping nothing; whether it can be trained on."""
    with tempfile.TemporaryDirectory() as directory:
        corpora = CorpusStore(Path(directory))
        with corpora.upload() as upload:
            while block := text.read(_BLOCK):
                upload.write(block)
            corpus_id = corpora.add_any(upload)
        report = corpora.report(corpus_id)
    for line in described(report):
        write(f"{printable(line)}\n")
    return report.get("characters") is not None


def described(report: Mapping[str, Any]) -> Iterator[str]:
    """A corpus's report for people, a line a fact."""

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
    if unprintable := report.get("unprintable"):
        yield fact("unprintable", " ".join(unprintable[:20]))
    if preset := report.get("preset"):
        yield fact("preset", preset)
    if (seconds := report.get("estimated_seconds")) is not None:
        yield fact("would take", f"about {duration(seconds)}")
    for warning in report.get("warnings", []):
        yield fact("note", warning)


@contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """A file, or standard input for ``-``. Raises Failed."""
    with ExitStack() as held:
        if str(file) == "-":
            yield sys.stdin.buffer
            return
        try:
            text = held.enter_context(file.open("rb"))
        except OSError as error:
            raise Failed(f"cannot read {file}: {error.strerror}") from None
        yield text
