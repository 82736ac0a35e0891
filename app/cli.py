"""The `charloom` command: the service from a terminal.

Knows the command line and the environment variables that may stand in for it. What a command
does is in a module of its own.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.essay.cli import corpus, experiment
from app.supervisor.up import Options, bring_up
from app.terminal import commands, connect
from app.terminal import jobs as job_commands
from app.terminal.options import DATA, AskForKey, Data, Url, place, reported

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
cli.add_typer(corpus, name="corpus")
cli.add_typer(experiment, name="experiment")


@cli.callback()
def charloom() -> None:
    """Character-level recurrent networks as a service."""


@cli.command()
def up(
    host: Annotated[str, typer.Option(envvar="CHARLOOM_HOST")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="CHARLOOM_PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    data: Data = DATA,
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
    with reported():
        bring_up(Options(host, port, data.resolve(), workers, open_page, insecure))


def _training(panel: str, text: str) -> Any:
    return typer.Option(help=text, rich_help_panel=panel)


SIZES, TRAINING, ENDS, SAMPLES = "Network", "Training", "When it ends", "Samples on the way"


@cli.command()
def train(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The text; - is standard input.")],
    model: Annotated[str | None, typer.Option(help="What the model is called.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what the text is; nothing is kept.")
    ] = False,
    preset: Annotated[str | None, typer.Option(help="auto, or an experiment's name.")] = None,
    network: Annotated[str | None, _training(SIZES, "lstm, gru or rnn.")] = None,
    num_layers: Annotated[int | None, _training(SIZES, "1 to 8.")] = None,
    hidden_size: Annotated[int | None, _training(SIZES, "Cells of a layer.")] = None,
    embedding_size: Annotated[int | None, _training(SIZES, "0 is 1-of-k.")] = None,
    dropout: Annotated[float | None, _training(SIZES, "0 to 0.9.")] = None,
    tokens: Annotated[str | None, _training(SIZES, "characters or bytes.")] = None,
    init_from: Annotated[str | None, _training(SIZES, "A model to go on from.")] = None,
    batch_size: Annotated[int | None, _training(TRAINING, "Rows of a batch.")] = None,
    sequence_length: Annotated[int | None, _training(TRAINING, "Characters of a row.")] = None,
    optimizer: Annotated[str | None, _training(TRAINING, "adamw, adam or rmsprop.")] = None,
    learning_rate: Annotated[float | None, _training(TRAINING, "1e-6 to 1.")] = None,
    schedule: Annotated[str | None, _training(TRAINING, "cosine, char-rnn or constant.")] = None,
    grad_clip: Annotated[float | None, _training(TRAINING, "The gradient's norm; 0: off.")] = None,
    weight_decay: Annotated[float | None, _training(TRAINING, "0 to 1.")] = None,
    seed: Annotated[int | None, _training(TRAINING, "Of all that is drawn.")] = None,
    max_epochs: Annotated[float | None, _training(ENDS, "Passes over the text.")] = None,
    max_steps: Annotated[int | None, _training(ENDS, "Batches.")] = None,
    max_seconds: Annotated[float | None, _training(ENDS, "Time that training takes.")] = None,
    patience: Annotated[int | None, _training(ENDS, "Evaluations without a better loss.")] = None,
    validation_fraction: Annotated[float | None, _training(ENDS, "Held out, 0.01 to 0.5.")] = None,
    evaluate_every: Annotated[int | None, _training(ENDS, "Steps.")] = None,
    sample_at: Annotated[str | None, _training(SAMPLES, "Steps, as in 100,300,500.")] = None,
    sample_every: Annotated[int | None, _training(SAMPLES, "Steps.")] = None,
    sample_prime: Annotated[str | None, _training(SAMPLES, "What a sample begins with.")] = None,
    sample_temperature: Annotated[float | None, _training(SAMPLES, "0 is argmax.")] = None,
    keep_snapshots: Annotated[
        str | None, _training(SAMPLES, "Steps to publish as NAME:step-N.")
    ] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Train a model on a text and watch it learn; what is left out is decided by the text."""
    with reported():
        if not model and not check:
            raise typer.BadParameter("--model names what is to be trained")
        with commands.opened(file) as text:
            if check:
                raise typer.Exit(0 if commands.check(text) else 1)
            with connect.everything(place(data, url, key)) as reached:
                code = job_commands.train(reached, text, _given(context, "file", "check"))
        raise typer.Exit(code)


@cli.command()
def sample(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="May be left out if there is one.")] = None,
    prime: Annotated[str | None, typer.Option(help="Text to read first.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is argmax.")] = None,
    length: Annotated[int | None, typer.Option(help="Characters to write.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same gives the same text.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Choose among so many.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Choose among so much probability.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="The text ends before it; up to 4 times.")
    ] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Write the prime too.")] = False,
    unknown: Annotated[
        str | None, typer.Option(help="skip leaves out what the model does not know.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="exact (fp32) or fast (int8).")] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Write text in a model's style, as it is made."""
    with reported(), connect.server(place(data, url, key)) as reached:
        commands.sample(reached.client, _given(context))


@cli.command()
def names(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="May be left out if there is one.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="1 to 1000.")] = None,
    starts_with: Annotated[str | None, typer.Option(help="What they begin with.")] = None,
    min_length: Annotated[int | None, typer.Option(help="Characters.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Characters.")] = None,
    novel: Annotated[bool, typer.Option("--novel", help="None that the model has read.")] = False,
    temperature: Annotated[float | None, typer.Option(help="0 is argmax.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same gives the same names.")] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Draw names from a model of a list, one a line, none twice."""
    with reported(), connect.server(place(data, url, key)) as reached:
        commands.names(reached.client, _given(context))


@cli.command()
def inspect(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The text; - is standard input.")],
    model: Annotated[str, typer.Option(help="Who reads it.")],
    cell: Annotated[int | None, typer.Option(help="The cell that colours the text.")] = None,
    layer: Annotated[int | None, typer.Option(help="Of the cell; -1 is the last.")] = None,
    tracks: Annotated[
        str | None, typer.Option(help="The cell that tracks this, such as quotes, instead.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Guesses for each character; 5, or 0 with a cell.")
    ] = None,
    unknown: Annotated[
        str | None, typer.Option(help="skip leaves out what the model does not know.")
    ] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Show a text as a model reads it: green where a cell is excited, blue where it is quiet, red
    for what is expected next."""
    with reported():
        if tracks and (cell is not None or layer is not None):
            raise typer.BadParameter("--tracks chooses the cell: leave --cell and --layer out")
        fields = _given(context, "file", "model", "cell", "tracks")
        if cell is not None:
            fields["cells"] = [cell]
        with commands.opened(file) as text, connect.server(place(data, url, key)) as reached:
            commands.inspect(reached.client, text, model, tracks, fields)


@cli.command()
def cells(
    model: Annotated[str, typer.Option(help="Whose cells.")],
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Show what a model's cells keep track of."""
    with reported(), connect.server(place(data, url, key)) as reached:
        commands.cells(reached.client, model)


@cli.command()
def score(
    file: Annotated[Path, typer.Argument(help="The text; - is standard input.")],
    model: Annotated[list[str], typer.Option(help="One that reads it; several times.")],
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Show which of some models expects a text most."""
    with (
        reported(),
        commands.opened(file) as text,
        connect.server(place(data, url, key)) as reached,
    ):
        commands.score(reached.client, text, model)


@cli.command()
def models(
    model: Annotated[str | None, typer.Argument(help="Only this one, under each tag.")] = None,
    download: Annotated[
        Path | None, typer.Option(help="Write it to a .zip, or its network to an .onnx.")
    ] = None,
    import_: Annotated[
        Path | None, typer.Option("--import", help="Bring it from a .zip; - is standard input.")
    ] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """List the models that there are; carry one away, or bring one."""
    with reported():
        if (download or import_) and not model:
            raise typer.BadParameter("--download and --import need a model's name")
        if download and import_:
            raise typer.BadParameter("--download and --import are two commands")
        with connect.server(place(data, url, key)) as reached:
            if download:
                commands.download(reached.client, str(model), download)
            elif import_:
                with commands.opened(import_) as archive:
                    commands.bring(reached.client, str(model), archive)
            else:
                commands.models(reached.client, model)


@cli.command()
def jobs(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="A job to watch.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="End it; what it made stays.")] = False,
    status: Annotated[str | None, typer.Option(help="Only those, such as running.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those of a model.")] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """List jobs, the newest first; with a job's id, show its progress or cancel it."""
    with reported(), connect.server(place(data, url, key)) as reached:
        if cancel and not job:
            raise typer.BadParameter("--cancel needs a job's id")
        if not job:
            job_commands.jobs(reached.client, _given(context, "job", "cancel"))
        elif cancel:
            job_commands.cancel(reached.client, job)
        else:
            raise typer.Exit(job_commands.follow(reached, job))


def _given(context: typer.Context, *besides: str) -> dict[str, Any]:
    """What was said on the command line, to be sent as it is: the service knows what it may be."""
    left_out = {"data", "url", "key", *besides}
    given = {name: value for name, value in context.params.items() if name not in left_out}
    # Zeros were said.
    return {k: v for k, v in given.items() if v is not None and v is not False and v != []}


if __name__ == "__main__":
    cli(prog_name="charloom")
