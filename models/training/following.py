"""What all ranks but the first do: the steps of rank 0, on other rows, until it ends.

Knows a trainer, and nothing of what is decided about it.
"""

from collections.abc import Callable
from dataclasses import replace

from models.training.ranks import Order, Ranks
from models.training.trainer import Trainer


def follow(group: Ranks, make: Callable[[], Trainer]) -> None:
    """Trains with rank 0 until it ends.

    Args:
        group: of this rank.
        make: a trainer at its beginning, of the same network and text as rank 0's, without n-gram
            features.

    Raises:
        RankLost: rank 0, or another, has ended otherwise.
    """
    trainer: Trainer | None = None
    while (said := group.hear()).order is not Order.END:
        if said.order is Order.BEGIN:
            # Frees the one before first.
            trainer = None
            trainer = make()
            tensors, rest, features = said.content
            if features:
                # They were sent without the text, which is on the disk.
                trainer.attach(replace(features, ids=trainer.batches.ids))
            trainer.load_state_dict(tensors, rest)
            continue
        assert trainer
        if said.order is Order.STEP:
            trainer.elapsed = said.elapsed
            trainer.train_step()
        elif said.order is Order.GATHER:
            trainer.gather()
