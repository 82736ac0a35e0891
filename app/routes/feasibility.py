"""Whether a training is possible, and how long it takes, before it becomes a job.

Knows memory, the model to continue from and the speeds that workers measured, no route and no
torch.
"""

from app.http.problems import unprocessable
from app.schemas.training import Outlook
from models import sizing
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.config import NetworkConfig
from models.files import CheckpointError
from models.options import TrainingOptions
from models.presets import with_preset
from models.text.corpus import Scan
from models.text.vocab import (
    UnknownCharacters,
    Vocabulary,
    listed_characters,
)
from worker.devices import DeviceStore

_SIZES = {
    "network": "kind",
    "num_layers": "num_layers",
    "hidden_size": "hidden_size",
    "embedding_size": "embedding_size",
}
"""Options that the model to continue from decides, and their names in its config."""


def check(models: Registry, devices: DeviceStore, asked: TrainingOptions, scan: Scan) -> None:
    """Raises Problem, 422, if the training is impossible, before anything is kept."""
    _check_prime(asked.sample_prime, scan.vocabulary)
    options = with_preset(asked)
    if asked.init_from:
        options = sizing.as_large_as(options, _origin(models, asked, scan))
    if options.hidden_size is None:
        return
    characters = sizing.training_characters(options, scan.report.characters)
    batch_size, length = sizing.batch(options, characters)
    config = sizing.network(options, len(scan.vocabulary), options.hidden_size)
    refusal = sizing.memory_refusal(config, batch_size, length, devices.memory_bytes())
    if refusal:
        raise unprocessable("hidden_size", refusal, "not_enough_memory")


def _check_prime(prime: str, vocabulary: Vocabulary) -> None:
    try:
        vocabulary.encode(vocabulary.as_read(prime))
    except UnknownCharacters as error:
        shown = listed_characters(error.characters)
        raise unprocessable(
            "sample_prime",
            f"has characters that the text does not have: {shown}. Remove them",
            error.code,
        ) from None


def _origin(models: Registry, asked: TrainingOptions, scan: Scan) -> NetworkConfig:
    """The config of the model to continue from, if the corpus and the options fit it."""
    try:
        entry = models.entry(Reference.parse(str(asked.init_from)))
        vocabulary = models.vocabulary(entry.reference.name, entry.digest)
    except UnknownModel:
        raise unprocessable(
            "init_from", "is unknown; GET /models lists all models", "unknown_model"
        ) from None
    except CheckpointError as error:
        raise unprocessable(
            "init_from", "is damaged: delete the model and train it again", error.code
        ) from None
    own, read = vocabulary.tokens, scan.vocabulary.tokens
    if own != read:
        words = f"was trained on {own}, and the text is read as {read}: pass tokens={own}"
        raise unprocessable("init_from", words)
    for option, name in _SIZES.items():
        given, own = getattr(asked, option), getattr(entry.config, name)
        if given is not None and given != own:
            raise unprocessable(option, f"must be {own}, as in the model to continue from")
    return entry.config


def estimated_seconds(
    devices: DeviceStore, distinct: int, characters: int, options: TrainingOptions | None = None
) -> float | None:
    """About how long training takes on the fastest device; None if none was measured yet."""
    work = devices.work()
    if work is None:
        return None
    seconds = sizing.estimated_seconds(
        with_preset(options or TrainingOptions()), distinct, characters, work
    )
    return round(seconds, 1)


def outlooks(
    devices: DeviceStore, distinct: int, characters: int, times: list[float]
) -> list[Outlook]:
    """What training by default does in these seconds on the fastest device; nothing if none was
    measured yet."""
    work = devices.work()
    if work is None:
        return []
    found = []
    for seconds in times:
        options = with_preset(TrainingOptions(max_seconds=seconds))
        config, passes = sizing.outlook(options, distinct, characters, work)
        found.append(
            Outlook(
                max_seconds=seconds,
                num_layers=config.num_layers,
                hidden_size=config.hidden_size,
                passes=float(f"{passes:.2g}"),
            )
        )
    return found
