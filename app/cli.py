"""The `charloom` command: the service from a terminal.

Knows the command line and the environment variables that stand in for options; what a command
does is in modules of their own. Those that load the server's libraries, or read texts and models,
are imported by the command that needs them: with them every other one would start half as fast.
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app import __version__
from app.essay.cli import corpus, experiment
from app.supervisor.errors import UserError
from app.supervisor.up import UpOptions, bring_up
from app.terminal import commands, connect, output, packing
from app.terminal import jobs as job_commands
from app.terminal.ending import reported, run
from app.terminal.options import DATA, AskForKey, Data, Url, Workers, place, temperatures
from app.terminal.training import with_training_options

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cli.add_typer(corpus, name="corpus")
cli.add_typer(experiment, name="experiment")

TEXT = typer.Argument(help="File with the text; - is standard input.")
TEXTS = typer.Argument(
    metavar="FILE...",
    help="File with the text; - is standard input. Of several files, folders, archives "
    "(.zip, .tar, .gz) and documents (.epub, .docx, .html) one text is made.",
)
MODEL = typer.Option(help="Model to use; may be left out if there is only one.")
TEMPERATURE = typer.Option(help="Sampling temperature; 0 always takes the most likely character.")
SEED = typer.Option(help="Random seed: the same one gives the same output.")
STYLE = typer.Option(
    help="Style of a model of several texts, or a mix such as austen:0.7,lovecraft:0.3."
)
UNKNOWN = typer.Option(help="skip drops characters that the model does not know.")
PUSH = typer.Option(
    metavar="OWNER/NAME",
    help="Bring it into this repository of the Hugging Face Hub, which is made if need be, and "
    "private: a model carries up to 100 kB of its text.",
)
PULL = typer.Option(
    metavar="OWNER/NAME",
    help="Import it from this repository of the Hugging Face Hub; OWNER/NAME@REVISION is an "
    "earlier state.",
)
PUBLIC = typer.Option("--public", help="With --push: the repository is public.")
UPDATE = typer.Option(
    "--update", help="With --push: add a commit to a repository that has files already."
)


def _tell_version(asked: bool) -> None:
    if asked:
        output.write(f"charloom {__version__}\n")
        raise typer.Exit


@cli.callback()
def charloom(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Character-level recurrent networks as a service."""


@cli.command()
def up(
    host: Annotated[
        str, typer.Option(envvar="CHARLOOM_HOST", help="Host name or IP address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(envvar="CHARLOOM_PORT", min=0, max=65535, help="Port; 0 takes a free one."),
    ] = 8000,
    data: Data = DATA,
    workers: Workers = 1,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="CHARLOOM_INSECURE",
            help="Allow listening beyond loopback without API keys.",
        ),
    ] = False,
) -> None:
    """Start Redis, workers and the server, and stay in the foreground; Ctrl-C stops them all."""
    with reported():
        bring_up(UpOptions(host, port, data.resolve(), workers, open_page, insecure))


@cli.command()
@with_training_options
def train(
    file: Annotated[list[Path], TEXTS],
    model: Annotated[str | None, typer.Option(help="Name of the new model.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only report on the text; keep nothing.")
    ] = False,
    styles: Annotated[
        bool,
        typer.Option(
            "--styles",
            help="Tell the texts apart: each file or folder is a style, named after it or as in "
            "NAME=FILE, which sample --style takes.",
        ),
    ] = False,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
    **options: Any,
) -> None:
    """Train a model on a text and watch it learn.

    Options that you leave out are chosen for the text and the machine.
    """
    with reported():
        if not model and not check:
            raise typer.BadParameter("--model is missing: it names the new model")
        as_sent = options.get("tokens") == "bytes"
        with packing.opened(file, as_sent=as_sent, styles=styles) as (text, parts):
            options |= parts
            if check:
                from app.terminal import reading

                raise typer.Exit(reading.check(text, {"model": model or "checked", **options}))
            with connect.everything(place(data, url, key)) as reached:
                code = job_commands.train(reached, text, {"model": model, **options})
        raise typer.Exit(code)


@cli.command()
def sample(
    context: typer.Context,
    model: Annotated[str | None, MODEL] = None,
    prime: Annotated[str | None, typer.Option(help="Text to continue.")] = None,
    temperature: Annotated[
        str | None,
        typer.Option(
            callback=temperatures,
            help="Sampling temperature; 0 always takes the most likely character. With 1,0.5,0 the "
            "text goes through several, each for an equal part of its length.",
        ),
    ] = None,
    length: Annotated[int | None, typer.Option(help="Number of characters to write.")] = None,
    seed: Annotated[int | None, SEED] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from the K most likely characters.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Nucleus sampling: smallest set with total probability P."),
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Stop before this text; repeatable, up to 4 times.")
    ] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Write the prime, too.")] = False,
    style: Annotated[str | None, STYLE] = None,
    max_copied: Annotated[
        int | None,
        typer.Option(help="Never write more than N characters as the training text has them."),
    ] = None,
    unknown: Annotated[str | None, UNKNOWN] = None,
    precision: Annotated[
        str | None, typer.Option(help="exact (fp32) or fast (int8). Default: the model's best.")
    ] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Write text in a model's style, printed while it is made."""
    with reported(), connect.server(place(data, url, key)) as reached:
        commands.sample(reached.client, _given(context))


@cli.command()
def names(
    context: typer.Context,
    model: Annotated[str | None, MODEL] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", help="Number of names, 1 to 1000. Default: 10.")
    ] = None,
    starts_with: Annotated[str | None, typer.Option(help="Beginning of every name.")] = None,
    contains: Annotated[str | None, typer.Option(help="Part of every name.")] = None,
    ends_with: Annotated[str | None, typer.Option(help="End of every name.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="What every name looks like: ? is one character, * any number. Quote it: 'K?r*'."
        ),
    ] = None,
    min_length: Annotated[int | None, typer.Option(help="Fewest characters of a name.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Most characters of a name.")] = None,
    novel: Annotated[
        bool, typer.Option("--novel", help="Skip names that are in the training text.")
    ] = False,
    temperature: Annotated[float | None, TEMPERATURE] = None,
    style: Annotated[str | None, STYLE] = None,
    seed: Annotated[int | None, SEED] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Draw distinct names from a model that was trained on a list, one per line."""
    with reported(), connect.server(place(data, url, key)) as reached:
        commands.names(reached.client, _given(context))


@cli.command()
def inspect(
    context: typer.Context,
    file: Annotated[Path, TEXT],
    model: Annotated[str, typer.Option(help="Model to use.")],
    cell: Annotated[int | None, typer.Option(help="Cell that colours the text.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="Layer of the cell; -1 is the last. Default: -1.")
    ] = None,
    tracks: Annotated[
        str | None,
        typer.Option(help="Use the cell that best tracks this, such as quotes (see cells)."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="Guesses to show per character. Default: 5, or 0 with a cell."),
    ] = None,
    style: Annotated[str | None, STYLE] = None,
    unknown: Annotated[str | None, UNKNOWN] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Show a text as a model reads it.

    Green is where a cell is excited, blue where it is quiet; red are the characters that the model
    expects next.
    """
    from app.terminal import reading

    with reported():
        if tracks and (cell is not None or layer is not None):
            raise typer.BadParameter("--tracks chooses the cell: omit --cell and --layer")
        fields = _given(context, "file", "model", "cell", "tracks")
        if cell is not None:
            fields["cells"] = [cell]
        with commands.opened(file) as text, connect.server(place(data, url, key)) as reached:
            beginning = reading.beginning(text)
            commands.inspect(reached.client, beginning, model, tracks, fields)


@cli.command()
def cells(
    model: Annotated[str, typer.Option(help="Model to inspect.")],
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Show what a model's cells track, such as quotes or the position in a line."""
    with reported(), connect.server(place(data, url, key)) as reached:
        commands.cells(reached.client, model)


@cli.command()
def score(
    file: Annotated[Path, TEXT],
    model: Annotated[list[str], typer.Option(help="Model to compare; repeatable.")],
    style: Annotated[str | None, STYLE] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Show which of several models predicts a text best."""
    from app.terminal import reading

    with (
        reported(),
        commands.opened(file) as text,
        connect.server(place(data, url, key)) as reached,
    ):
        commands.score(reached.client, reading.beginning(text), model, style)


@cli.command()
def models(
    model: Annotated[
        str | None, typer.Argument(help="Show only this model, with all its tags.")
    ] = None,
    download: Annotated[
        Path | None,
        typer.Option(
            help="Save it as a .zip (whole model), an .onnx (network only) or an .html (a page "
            "that writes by itself)."
        ),
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option("--import", help="Import it from a downloaded .zip; - is standard input."),
    ] = None,
    rename: Annotated[
        str | None, typer.Option(help="Give it this name, with all of its tags.")
    ] = None,
    push: Annotated[str | None, PUSH] = None,
    pull: Annotated[str | None, PULL] = None,
    public: Annotated[bool, PUBLIC] = False,
    update: Annotated[bool, UPDATE] = False,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """List the models; download, import, rename, push or pull one."""
    actions = {
        "--download": download,
        "--import": import_,
        "--rename": rename,
        "--push": push,
        "--pull": pull,
    }
    _check_actions(actions, model, "name of a model")
    with reported():
        if (public or update) and not push:
            raise typer.BadParameter("--public and --update are for --push")
        with connect.server(place(data, url, key)) as reached:
            if push or pull:
                # Reads models, which most commands do not need.
                from app.terminal import hub

                if push:
                    hub.push(reached.client, str(model), push, public=public, update=update)
                else:
                    hub.pull(reached.client, str(model), str(pull))
            elif download:
                commands.download(reached.client, str(model), download)
            elif rename:
                commands.rename_model(reached.client, str(model), rename)
            elif import_:
                with commands.opened(import_) as archive:
                    commands.import_model(reached.client, str(model), archive)
            else:
                commands.models(reached.client, model)


@cli.command()
def jobs(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="Id of a job to watch.")] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the job; its published models stay.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Resume a cancelled, failed or finished job, and show its progress."
        ),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete an ended or damaged job; its models stay.")
    ] = False,
    status: Annotated[
        str | None, typer.Option(help="List only jobs with this status, such as running.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="List only jobs of this model.")] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """List jobs, newest first; with the id of a job, show, cancel, resume or delete it."""
    _check_actions({"--cancel": cancel, "--resume": resume, "--delete": delete}, job, "id of a job")
    # Only a job that is to be resumed needs a worker.
    service = connect.everything if resume else connect.server
    with reported(), service(place(data, url, key)) as reached:
        if not job:
            query = _given(context, "job", "cancel", "resume", "delete")
            job_commands.jobs(reached.client, query)
        elif delete:
            job_commands.delete(reached.client, job)
        elif cancel:
            job_commands.cancel(reached.client, job)
        elif resume:
            raise typer.Exit(job_commands.resume(reached, job))
        else:
            raise typer.Exit(job_commands.follow(reached, job))


@cli.command()
def backup(
    to: Annotated[Path, typer.Argument(help="File to write, such as charloom.tar.")],
    data: Data = DATA,
) -> None:
    """Save models, corpora and jobs as one file, also while the service runs."""
    from app.terminal import backups

    with reported():
        backups.back_up(data.resolve(), to)


@cli.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="File that backup wrote.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only read and check it; restore nothing.")
    ] = False,
    data: Data = DATA,
) -> None:
    """Put a backup into a data directory that is empty or does not exist."""
    from app.terminal import backups

    with reported():
        if check:
            backups.check(source)
        else:
            backups.restore(source, data.resolve())


# The launcher of a clone takes these two words for itself.
_HIDDEN: dict[str, Any] = {
    "hidden": True,
    "add_help_option": False,
    "context_settings": {"ignore_unknown_options": True},
}


@cli.command(**_HIDDEN)
def test(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Run the linters, the type checker and the tests, which only a clone has."""
    _send_to_clone("the tests are", "test")


@cli.command(**_HIDDEN)
def bench(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Measure this machine, with the benches, which only a clone has."""
    _send_to_clone("the benches are", "bench")


def _send_to_clone(missing: str, command: str) -> None:
    with reported():
        raise UserError(
            f"{missing} not installed: clone charloom's repository and run ./charloom {command} "
            "there"
        )


def _check_actions(actions: Mapping[str, object], subject: str | None, needed: str) -> None:
    """Raises BadParameter: more than one is asked for, or there is nothing to do it with."""
    asked = [name for name, is_asked in actions.items() if is_asked]
    if asked and not subject:
        raise typer.BadParameter(f"{asked[0]} needs the {needed}")
    if len(asked) > 1:
        raise typer.BadParameter(f"{' and '.join(asked)} exclude each other")


def _given(context: typer.Context, *besides: str) -> dict[str, Any]:
    """Returns the given options, which the service validates, but for some."""
    excluded = {"data", "url", "key", *besides}
    given = {name: value for name, value in context.params.items() if name not in excluded}
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise typer.BadParameter(f"--{name.replace('_', '-')} must be a number")
    # A zero is given.
    return {k: v for k, v in given.items() if v is not None and v is not False and v != []}


def main() -> int:
    """The command of an installed package. Returns the exit code."""
    return run(cli, "charloom")


if __name__ == "__main__":
    sys.exit(main())
