"""A job's progress in a terminal: a bar with its figures and the latest sample, or plain lines.

Takes the job's events (docs/http-api.md) one by one; does not know where they come from.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, Self, TextIO

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.terminal.output import console, duration, printable

LINE_SECONDS = 10.0
"""Between two plain lines of progress."""

SAMPLE_LINES = 12
_MOST_COLUMNS = 120


class View(Protocol):
    """Shows a job's events."""

    def show(self, event: str, data: dict[str, Any]) -> None:
        """Takes one event."""


def view(model: str, stream: TextIO) -> AbstractContextManager[View]:
    """Returns a bar if the stream is a terminal that can redraw it, else plain lines."""
    screen = console(stream)
    return LiveProgress(model, screen) if screen.is_terminal else nullcontext(PlainProgress(stream))


class PlainProgress:
    """Prints events, a line each, but progress only every `LINE_SECONDS`."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next = 0.0

    def show(self, event: str, data: dict[str, Any]) -> None:
        match event:
            case "progress" if self._clock() >= self._next:
                self._next = self._clock() + LINE_SECONDS
                self._say("  ".join(_figures(data)))
            case "evaluation":
                best = ", the best so far" if data["best"] else ""
                self._say(f"step {data['step']}: validation {data['val_loss']:.3f}{best}")
            case "sample":
                self._say(_heading(data))
                for line in data["text"].split("\n"):
                    self._say(f"  | {line}")
            case "notice":
                self._say(data["text"])

    def _say(self, line: str) -> None:
        self._stream.write(f"{printable(line)}\n")
        self._stream.flush()


class LiveProgress:
    """A few lines at the bottom of a terminal that are redrawn with each event."""

    def __init__(self, model: str, screen: Console) -> None:
        self._model = printable(model)
        self._progress: dict[str, Any] = {}
        self._sample: dict[str, Any] = {}
        self._live = Live(
            console=screen,
            get_renderable=self._picture,
            auto_refresh=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: str, data: dict[str, Any]) -> None:
        match event:
            case "progress":
                self._progress = data
            case "evaluation":
                self._progress |= {k: data[k] for k in ("val_loss", "bpc")}
            case "sample":
                self._sample = data
            case "notice":
                self._live.console.print(Text(printable(data["text"])))
        self._live.refresh()

    def _picture(self) -> RenderableType:
        return Constrain(Group(*self._head(), *self._latest()), _MOST_COLUMNS)

    def _head(self) -> Iterator[RenderableType]:
        if not self._progress:
            yield Text(f"{self._model}  waiting for a worker")
            return
        share = _share(self._progress)
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(
            Text(self._model), ProgressBar(total=1, completed=share), Text(f"{100 * share:3.0f}%")
        )
        yield line
        yield Columns(map(Text, _figures(self._progress)), padding=(0, 2))

    def _latest(self) -> Iterator[RenderableType]:
        """Yields the beginning of the latest sample."""
        if not self._sample:
            return
        lines = [line for line in self._sample["text"].split("\n") if line.strip()]
        yield Text("")
        for line in (_heading(self._sample), *lines[:SAMPLE_LINES]):
            yield Text(printable(line), style="dim", no_wrap=True, overflow="crop")


def _share(progress: dict[str, Any]) -> float:
    """Returns the share that is done: by the time left, since time may run out before the steps."""
    elapsed, left = progress.get("elapsed_seconds"), progress.get("eta_seconds")
    if elapsed is not None and left is not None and elapsed + left > 0:
        return float(elapsed / (elapsed + left))
    most = progress.get("max_steps")
    return min(1.0, progress["step"] / most) if most else 0.0


def _figures(progress: dict[str, Any]) -> Iterator[str]:
    """Yields the figures that are known, each with its name."""

    def known(name: str, say: Callable[[Any], str]) -> Iterator[str]:
        if (value := progress.get(name)) is not None:
            yield say(value)

    most = progress.get("max_steps")
    yield f"step {progress['step']:,}" + (f"/{most:,}" if most else "")
    yield from known("train_loss", lambda loss: f"loss {loss:.3f}")
    yield from known("val_loss", lambda loss: f"validation {loss:.3f}")
    yield from known("bpc", lambda bits: f"{bits:.3f} bpc")
    yield from known("chars_per_second", lambda speed: f"{speed:,.0f} characters/s")
    yield from known("eta_seconds", lambda left: f"{duration(left)} left")


def _heading(sample: dict[str, Any]) -> str:
    style = f", style {sample['style']}" if "style" in sample else ""
    return f"sample at step {sample['step']:,}{style}, temperature {sample['temperature']:g}:"
