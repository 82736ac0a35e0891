"""A job's progress in a terminal: a bar with its figures and the latest sample, or plain lines.

Is told the job's events (docs/http-api.md) one by one; knows nothing of where they come from.
"""

import re
import shutil
import time
import unicodedata
from collections.abc import Callable
from typing import Any, Protocol, TextIO

LINE_SECONDS = 10.0
"""Between two plain lines of progress."""

SAMPLE_LINES = 12
_MOST_COLUMNS = 120

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class View(Protocol):
    """Shows what happens to a job."""

    def show(self, event: str, data: dict[str, Any]) -> None:
        """Takes one event."""


def view(model: str, out: TextIO) -> View:
    """A bar where there is somebody to see it move."""
    return Bar(model, out) if out.isatty() else Lines(out)


class Lines:
    """What happens, a line each; progress every so many seconds."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._next = 0.0

    def show(self, event: str, data: dict[str, Any]) -> None:
        match event:
            case "progress" if self._clock() >= self._next:
                self._next = self._clock() + LINE_SECONDS
                self._say("  ".join(filter(None, [_steps(data), *_figures(data)])))
            case "evaluation":
                best = ", the best so far" if data["best"] else ""
                self._say(f"step {data['step']}: validation {_loss(data['val_loss'])}{best}")
            case "sample":
                self._say(_heading(data))
                for line in data["text"].split("\n"):
                    self._say(f"  | {printable(line)}")
            case "notice":
                self._say(printable(str(data["text"])))

    def _say(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


class Bar:
    """A few lines that are drawn over and over."""

    def __init__(self, model: str, out: TextIO) -> None:
        self._model = model
        self._out = out
        self._drawn = 0
        self._progress: dict[str, Any] = {}
        self._sample: dict[str, Any] = {}

    def show(self, event: str, data: dict[str, Any]) -> None:
        match event:
            case "progress":
                self._progress = data
            case "evaluation":
                self._progress |= {k: data[k] for k in ("val_loss", "bpc")}
            case "sample":
                self._sample = data
            case "notice":
                self._out.write(f"{self._erase()}{printable(str(data['text']))}\n")
        self._draw()

    def _draw(self) -> None:
        size = shutil.get_terminal_size()
        # One column is left free: a full line would wrap, and be two to erase.
        width = min(size.columns, _MOST_COLUMNS) - 1
        lines = [clip(line, width) for line in self._head(width)]
        lines += [f"{_DIM}{clip(line, width)}{_PLAIN}" for line in self._latest(size.lines)]
        # In one piece, so that nothing flickers.
        self._out.write(self._erase() + "".join(f"{line}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def _latest(self, rows: int) -> list[str]:
        """The latest sample, as much as fits beneath the figures."""
        if not self._sample:
            return []
        text = [line for line in self._sample["text"].split("\n") if line.strip()]
        room = max(0, min(SAMPLE_LINES, rows - 5))
        return ["", _heading(self._sample), *(printable(line) for line in text[:room])]

    def _head(self, width: int) -> list[str]:
        progress = self._progress
        if not progress:
            return [f"{self._model}  waiting for a worker"]
        share = _share(progress)
        label = f"{100 * share:3.0f}%  {_steps(progress)}"
        room = max(4, width - len(self._model) - len(label) - 4)
        full = round(share * room)
        return [
            f"{self._model}  {'█' * full}{'░' * (room - full)}  {label}",
            "  ".join(filter(None, _figures(progress))),
        ]

    def _erase(self) -> str:
        """What removes the lines that were drawn last."""
        drawn, self._drawn = self._drawn, 0
        return f"\x1b[{drawn}F\x1b[J" if drawn else ""


def printable(text: str) -> str:
    """A text that can't steer the terminal, whatever a model has written."""
    return _UNPRINTABLE.sub("\N{MIDDLE DOT}", text)


def clip(text: str, columns: int) -> str:
    """As much of a line as fits."""
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return text[:index]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def duration(seconds: float) -> str:
    """Seconds in words, to two places."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def _share(progress: dict[str, Any]) -> float:
    """How much of it is done: by the time that is left, since time may end it before its steps."""
    elapsed, left = progress.get("elapsed_seconds"), progress.get("eta_seconds")
    if elapsed is not None and left is not None and elapsed + left > 0:
        return float(elapsed / (elapsed + left))
    most = progress.get("max_steps")
    return min(1.0, progress["step"] / most) if most else 0.0


def _steps(progress: dict[str, Any]) -> str:
    most = progress.get("max_steps")
    return f"step {progress['step']:,}" + (f"/{most:,}" if most else "")


def _figures(progress: dict[str, Any]) -> list[str]:
    """What is known of it, each with its name."""

    def known(name: str, say: Callable[[Any], str]) -> str:
        value = progress.get(name)
        return "" if value is None else say(value)

    return [
        known("train_loss", lambda loss: f"loss {loss:.3f}"),
        known("val_loss", lambda loss: f"validation {_loss(loss)}"),
        known("bpc", lambda bits: f"{bits:.3f} bpc"),
        known("chars_per_second", lambda speed: f"{speed:,.0f} characters/s"),
        known("eta_seconds", lambda left: f"{duration(left)} left"),
    ]


def _loss(loss: float) -> str:
    return f"{loss:.3f}"


def _heading(sample: dict[str, Any]) -> str:
    return f"sample at step {sample['step']:,}, temperature {sample['temperature']:g}:"
