"""Models on the Hugging Face Hub: ``charloom models NAME --push`` and ``--pull``.

A repository has the files of a download (``models.checkpoints.archive``). What is pushed is read as
an import is before anything leaves this machine, and one commit brings it whole; what is pulled
goes to the service as an import, which trusts none of it. ``huggingface_hub`` knows the Hub: its
address (``HF_ENDPOINT``), the token (``HF_TOKEN``, or that of ``hf auth login``) and the transfer.
Knows no command line.
"""

import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from app import __version__
from app.supervisor.errors import UserError
from app.supervisor.installation import IS_CLONE
from app.terminal import commands
from app.terminal.client import Client
from app.terminal.output import tell
from models.checkpoints.archive import MEMBERS, NEEDED, unzipped, zipped
from models.checkpoints.format import most_bytes, parse_config, write
from models.checkpoints.front_matter import README, with_metadata
from models.files import CheckpointError

EXTRA = "huggingface-hub>=2.4,<3"

_OF_THE_HUB = {".gitattributes"}
"""What a new repository has."""

_CONFIG = "config.json"


def push(client: Client, model: str, place: str, *, public: bool, update: bool) -> None:
    """Brings a model into a repository of the Hub, in one commit.

    The repository is made if need be. It is private unless ``public`` is set, because a model
    carries up to 100 kB of its text. One that has files gets a commit only with ``update``.
    """
    hub = _library()
    with _refused(hub, place), tempfile.TemporaryDirectory(prefix="charloom-") as directory:
        repository = _checked(hub, place)
        if not hub.get_token():
            raise UserError(
                "--push needs a token that may write to the Hub: log in with hf auth login, or set "
                "HF_TOKEN"
            )
        files = _downloaded(client, model, Path(directory))
        api = _api(hub)
        api.create_repo(repository, private=not public, exist_ok=True)
        info = api.model_info(repository)
        _check_target(info, repository, public=public, update=update)
        done = api.create_commit(
            repository,
            [hub.CommitOperationAdd(path.name, str(path)) for path in files],
            commit_message=f"Add {model}",
            # Not over what somebody else has pushed meanwhile.
            parent_commit=info.sha,
        )
        tell(f"{model} is at {done.repo_url}")


def pull(client: Client, model: str, place: str) -> None:
    """Imports a model from a repository of the Hub; ``place`` may end with ``@REVISION``."""
    hub = _library()
    name, _, revision = place.partition("@")
    with _refused(hub, place), tempfile.TemporaryDirectory(prefix="charloom-") as directory:
        repository = _checked(hub, name)
        api = _api(hub)
        info = api.model_info(repository, revision=revision or None, files_metadata=True)
        sizes = {one.rfilename: one.size for one in info.siblings or ()}
        try:
            files = _fetched(api, repository, info.sha, sizes, Path(directory))
        except CheckpointError as error:
            raise UserError(f"{repository} is not a model of charloom's: {error}") from None
        with ExitStack() as held, tempfile.TemporaryFile() as archive:
            opened = {path.name: held.enter_context(path.open("rb")) for path in files}
            for block in zipped(opened):
                archive.write(block)
            archive.seek(0)
            commands.import_model(client, model, archive)


def _library() -> Any:
    """Imports ``huggingface_hub``. Raises UserError: it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        ways = ["pipx inject charloom", "uv tool install --with"]
        if IS_CLONE:
            ways = [f"{sys.executable} -m pip install"]
        words = " or ".join(f"{way} '{EXTRA}'" for way in ways)
        raise UserError(f"--push and --pull need huggingface_hub: {words}") from None
    hub: Any = huggingface_hub
    if not sys.stderr.isatty():
        hub.utils.disable_progress_bars()
    return hub


def _api(hub: Any) -> Any:
    return hub.HfApi(library_name="charloom", library_version=__version__)


def _checked(hub: Any, name: str) -> str:
    """Returns the name of a repository, if it can be one. Raises HFValidationError or UserError."""
    if name.count("/") != 1:
        raise UserError(f"{name} is not the name of a repository, such as owner/name")
    hub.utils.validate_repo_id(name)
    return name


def _check_target(info: Any, repository: str, *, public: bool, update: bool) -> None:
    """Raises UserError: the repository must not be replaced, or would publish the model."""
    if {one.rfilename for one in info.siblings or ()} - _OF_THE_HUB and not update:
        raise UserError(
            f"{repository} exists and has files: choose another name, or pass --update to add a "
            "commit that replaces a model's files; earlier commits stay"
        )
    if not info.private and not public:
        raise UserError(
            f"{repository} is public, and a model carries up to 100 kB of its text: pass --public, "
            "or make the repository private"
        )


def _downloaded(client: Client, model: str, directory: Path) -> list[Path]:
    """Writes a model's files, once they are found sound, and returns their paths."""
    with tempfile.TemporaryFile() as archive:
        client.save(f"/models/{model}/download", {"format": "zip"}, archive)
        try:
            write(directory, unzipped(archive, archive.tell()))
        except CheckpointError as error:
            raise UserError(f"{model} cannot be pushed: {error}") from None
    with ExitStack() as held:
        files: dict[str, IO[bytes]] = {
            name: held.enter_context((directory / name).open("rb")) for name in MEMBERS
        }
        words = with_metadata(files)[README].read()
    (directory / README).write_bytes(words)
    return [directory / name for name in sorted(MEMBERS)]


def _fetched(
    api: Any, repository: str, commit: str, sizes: dict[str, int | None], directory: Path
) -> list[Path]:
    """Downloads a model's files, of no more bytes than a checkpoint's have, and of one commit.

    Raises:
        CheckpointError: they are none of charloom's.
    """
    if missing := NEEDED - sizes.keys():
        raise CheckpointError(f"{min(missing)} is missing")

    def fetch(name: str, most: int) -> Path:
        if (sizes[name] or 0) > most:
            raise CheckpointError(f"{name} is too large")
        path = Path(api.hf_hub_download(repository, name, revision=commit, local_dir=directory))
        if path.stat().st_size > most:
            raise CheckpointError(f"{name} is too large")
        return path

    config = parse_config(fetch(_CONFIG, most_bytes(_CONFIG)).read_bytes())
    return [fetch(name, most_bytes(name, config)) for name in sorted(MEMBERS & sizes.keys())]


@contextmanager
def _refused(hub: Any, place: str) -> Iterator[None]:
    """Words what the Hub, or the way to it, refuses."""
    import httpx2

    errors, at = hub.errors, hub.constants.ENDPOINT
    try:
        with warnings.catch_warnings():
            # The package's are for programmers; what comes of them is said below.
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except errors.HFValidationError:
        raise UserError(f"{place} is not the name of a repository, such as owner/name") from None
    except errors.OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set, which keeps from the Hub") from None
    except errors.HfHubHTTPError as error:
        raise UserError(_answered(errors, error, place, at)) from None
    except (
        httpx2.HTTPError,
        httpx2.InvalidURL,
        errors.LocalEntryNotFoundError,
        errors.XetDownloadError,
    ) as error:
        raise UserError(f"cannot reach {at}: {_reason(error)}") from None
    except (RuntimeError, ValueError, LookupError) as error:
        # From an upload in threads, or from an answer that is not the Hub's.
        raise UserError(f"the exchange with {at} failed: {_reason(error)}") from None
    except OSError as error:
        where = error.filename or tempfile.gettempdir()
        raise UserError(f"cannot write {where}: {error.strerror}") from None


def _answered(errors: Any, error: Any, place: str, at: str) -> str:
    if isinstance(error, errors.GatedRepoError):
        return f"{place} is gated: ask for access at {at}/{place.partition('@')[0]}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{place} has no such revision"
    status = error.response.status_code
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{at} has no model {place}, or shows it only to others: check the name, and log in "
            "with hf auth login or set HF_TOKEN"
        )
    if status == 401:
        return f"{at} does not accept the token: log in again with hf auth login, or set HF_TOKEN"
    if status == 403:
        return f"the token may not do this with {place}: make one that may write to it"
    words = error.server_message or error.response.reason_phrase
    return f"{at} answers {status} {words}"


def _reason(error: BaseException) -> str:
    """Returns the first line of what is behind an error."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).strip().splitlines()[0]
