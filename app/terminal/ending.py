"""How a command ends: its streams, its errors as one line, its exit code. Knows no command.

The code is 0 for success; 1 for a failure, with a line on standard error that says why; 2 for a
command line that cannot be meant; 78 for a service with wrong settings; 130 after Ctrl-C; 141 if
whoever reads the output stops, without a word.
"""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from pydantic import ValidationError

from app.supervisor.errors import UserError
from app.supervisor.installation import COMMAND
from app.terminal import output

FAILURE = 1
USAGE = 2
NO_READER = 128 + signal.SIGPIPE

_Misuse: type[Exception] = typer.BadParameter.__mro__[2]
"""Typer's error for any command line that cannot be meant, which it does not export."""


def run(command: Callable[..., Any], name: str) -> int:
    """Runs typer's command and returns the exit code; nothing that goes wrong is a traceback."""
    reopen_streams()
    try:
        with reported():
            code = command(prog_name=name, standalone_mode=False)
            sys.stdout.flush()
    except typer.Exit as end:
        code = end.exit_code
    except typer.Abort:
        code = FAILURE
    except _Misuse as error:
        code = _misused(error)
    return code if isinstance(code, int) else 0


def reopen_streams() -> None:
    """Puts something in the place of standard streams that are closed.

    Reading from it or writing to it fails like on a closed one. Else the next file or socket would
    take its number, and receive what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
            with suppress(OSError):
                # Only if nothing has taken the number.
                os.fstat(number)
                number = null
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


@contextmanager
def reported() -> Iterator[None]:
    """Turns an error into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal with another encoding shows what it can.
            stream.reconfigure(errors="replace")
    try:
        yield
    except UserError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        raise typer.Exit(output.INTERRUPTED) from None
    except BrokenPipeError:
        output.discard(sys.stdout)
        raise typer.Exit(NO_READER) from None
    except SystemExit as end:
        # What rich and typer make of a broken pipe.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        output.discard(sys.stdout)
        raise typer.Exit(NO_READER) from None
    except UnicodeEncodeError:
        _fail("the command line has bytes that are not UTF-8")
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename is None:
            output.discard(sys.stdout)
            _fail(f"cannot write the output: {reason}")
        _fail(f"{reason}: {os.fsdecode(error.filename)}")


def _fail(line: str, code: int = FAILURE) -> None:
    output.tell(f"charloom: {line}")
    raise typer.Exit(code) from None


def _misused(error: Any) -> int:
    """Says in one line what is wrong with a command line."""
    words = " ".join(error.format_message().split())
    if type(error).__name__ == "NoArgsIsHelpError":
        for line in error.format_message().split("\n"):
            output.tell(line)
        return USAGE
    parameter = getattr(error, "param", None)
    cause = error.__cause__
    if type(error).__name__ == "MissingParameter":
        words = f"{_named(parameter)} is missing"
    elif type(error) is typer.BadParameter:
        words = error.message
        if parameter is not None:
            said = _explained(cause) if isinstance(cause, ValidationError) else error.message
            words = f"{_named(parameter)} {said}"
    context = error.ctx
    path = (context.command_path if context else "charloom").replace("charloom", COMMAND, 1)
    if not words.startswith(_named(parameter) if parameter else "-"):
        words = words[:1].lower() + words[1:]
    output.tell(f"charloom: {words.rstrip('.')}; see {path} --help")
    return USAGE


def _named(parameter: Any) -> str:
    """Returns an option as it is typed, or the name of an argument."""
    longest: str = max(parameter.opts, key=len)
    return longest if longest.startswith("-") else longest.upper()


def _explained(error: ValidationError) -> str:
    """Returns what a value must be."""
    found = error.errors(include_url=False, include_input=False)[0]
    kind, context = found["type"], found.get("ctx", {})
    if kind.startswith("int"):
        return "must be a whole number"
    if kind.startswith(("float", "finite")):
        return "must be a number"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"must be {word} {context[key]:g}"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}".replace("'", "")
    if kind.startswith("bool"):
        return "must be true or false"
    words = str(found["msg"]).rstrip(".").replace("'", "").removeprefix("Input should be ")
    _, is_choice, choices = words.partition(" is not one of ")
    return f"must be {'one of ' if is_choice else ''}{choices or words}"


_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
"""By pydantic's kind of error: the words, and where the bound stands."""
