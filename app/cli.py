"""The `charloom` command: the service from a terminal.

Knows the command line and the environment variables that may stand in for it. What a command
does is in a module of its own.
"""

from pathlib import Path
from typing import Annotated

import typer

from app.up import ROOT, Options, Refusal, bring_up

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@cli.callback()
def charloom() -> None:
    """Character-level recurrent networks as a service."""


@cli.command()
def up(
    host: Annotated[str, typer.Option(envvar="CHARLOOM_HOST")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="CHARLOOM_PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    data: Annotated[
        Path, typer.Option(envvar="CHARLOOM_DATA", help="The directory that keeps everything.")
    ] = ROOT / "data",
    workers: Annotated[int, typer.Option(min=0, help="How many jobs train at once.")] = 1,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", envvar="CHARLOOM_INSECURE", help="Listen beyond loopback without keys."
        ),
    ] = False,
) -> None:
    """Start Redis, workers and server, and stay; Ctrl-C stops them all."""
    try:
        bring_up(Options(host, port, data.resolve(), workers, open_page, insecure))
    except Refusal as refusal:
        typer.echo(f"charloom: {refusal}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    cli(prog_name="charloom")
