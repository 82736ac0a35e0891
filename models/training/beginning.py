"""How a run begins: a new network, and the counts for its n-gram features.

Knows a corpus and hyperparameters; no job and no file.
"""

import threading
import time

import torch
from torch import Tensor

from models.config import NetworkConfig
from models.ngram_table import NGramTable
from models.options import MAX_COUNTED, Hyperparameters, Initialisation
from models.text.corpus import Corpus
from models.training.accelerated import Compute
from models.training.counting import count
from models.training.network import CharNetwork
from models.training.ngram_features import NGramFeatures
from models.training.ranks import ALONE, Group
from models.training.trainer import FeatureCount, Trainer, batches

COUNTED_A_SECOND = 650_000
"""Characters, about: 16 MB of LaTeX took 25 s."""

BESIDE_FROM = 0.15
"""Share of the time that counting must take to be done beside training.

It then ends later, and the network is trained meanwhile.
"""


def new_network(
    config: NetworkConfig,
    seed: int,
    initialisation: Initialisation = "normal",
    table: NGramTable | None = None,
) -> CharNetwork:
    """Returns a newly initialised network whose weights depend on the seed.

    ``uniform`` is char-rnn's initialisation: U(−0.08, 0.08), except for the forget bias, which
    is 1.
    """
    torch.manual_seed(seed)
    network = CharNetwork(config, table)
    if initialisation == "uniform":
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if not name.startswith("gates."):
                    parameter.uniform_(-0.08, 0.08)
            network.set_forget_bias()
    return network


def count_features(corpus: Corpus, options: Hyperparameters) -> NGramFeatures | None:
    """Counts a corpus for the n-gram features that the options ask for; None if they ask for none.

    It depends on the corpus and the options only, so a resumed run counts the same again.
    """
    if not options.ngram_orders:
        return None
    newline = corpus.vocabulary.start_id if options.shuffle_lines else None
    ids = batches(corpus, options).ids
    size = len(corpus.vocabulary)
    asked = (
        options.ngram_orders,
        options.ngram_buckets,
        newline,
        options.ngram_characters or MAX_COUNTED,
    )
    return count(ids, size, *asked)


def new_trainer(
    config: NetworkConfig,
    corpus: Corpus,
    options: Hyperparameters,
    device: torch.device | None = None,
    features: NGramFeatures | None = None,
    group: Group = ALONE,
    compute: Compute | None = None,
) -> Trainer:
    """Returns a trainer with a new network, and with the features that ``count_features`` gave."""
    table = features.table if features else None
    network = new_network(config.beside(table), options.seed, options.initialisation, table)
    return Trainer(network, corpus, options, device, features, group, compute)


def counts_beside(options: Hyperparameters) -> bool:
    """Whether counting for the n-gram features would take much of the time of a run.

    A run that is bounded by steps only is the same each time, so it waits for the counts.
    """
    if options.max_seconds is None:
        return False
    return options.ngram_characters > BESIDE_FROM * options.max_seconds * COUNTED_A_SECOND


def begin_features(corpus: Corpus, options: Hyperparameters) -> FeatureCount:
    """Counts for the n-gram features, in a thread if ``counts_beside``, otherwise before returning.

    Large operations of numpy release the interpreter, and no random number is drawn.
    """
    counting = FeatureCount(time.monotonic())

    def run() -> None:
        try:
            counting.set_result(count_features(corpus, options))
        except Exception as error:
            counting.set_exception(error)

    if counts_beside(options):
        threading.Thread(target=run, name="n-grams", daemon=True).start()
    else:
        counting.set_result(count_features(corpus, options))
    return counting


def first_trainer(
    config: NetworkConfig,
    corpus: Corpus,
    options: Hyperparameters,
    device: torch.device,
    counting: FeatureCount,
    group: Group = ALONE,
) -> Trainer:
    """Returns a trainer with a new network at the beginning of a run.

    Counting that is over took time of it.
    """
    features = counting.result() if counting.done() else None
    trainer = new_trainer(config, corpus, options, device, features, group)
    if features is None:
        trainer.expect(counting)
    else:
        trainer.elapsed = time.monotonic() - counting.began
    return trainer


def has_features(tensors: dict[str, Tensor]) -> bool:
    """Whether a saved state is of a network with an n-gram table."""
    return "network.gates.weight" in tensors
