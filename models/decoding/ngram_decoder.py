"""An n-gram model in place of a decoder: streams are sampled from counts as from a network.

The state of a row is its last ids. Python runs for each character, at about 10,000 a second: a
baseline is sampled for comparison, not to serve many clients. Knows no network.
"""

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.decoding.decoder import check_form, check_history
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import choose
from models.ngram import NGram
from models.ngram_table import NOTHING


class NGramDecoder:
    """An n-gram model ready to advance rows, like ``Decoder``. Threads may share it."""

    # Python computes row after row.
    spare_rows = 1

    def __init__(self, model: NGram) -> None:
        self.model = model

    def start(self, ids: Ids) -> Rows:
        """Returns rows that have read nothing and are about to read ``ids``, [rows]."""
        return Rows(ids, (np.full((1, len(ids), self.model.order), NOTHING, np.float32),))

    def check(self, rows: Rows) -> None:
        """Raises ValueError for rows that this decoder cannot have reached."""
        size = self.model.vocabulary_size
        check_form(rows, self.start(rows.ids), size)
        check_history(rows.state, size)

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        """Like ``Decoder.advance``; logits are log-probabilities, zeros for forced ids that a row
        does not tell."""
        steps, count = forced.shape
        chosen = np.empty((steps, count), np.int64)
        logits = np.zeros((steps, count, self.model.vocabulary_size), np.float32)
        temperatures = np.broadcast_to(choices.temperatures, forced.shape)
        remembered = np.full((1, count, self.model.order), NOTHING, np.float32)
        for row in range(count):
            before = rows.state[0][0, row]
            read = [*before[before != NOTHING].astype(np.int64).tolist(), int(rows.ids[row])]
            how = (temperatures[:, row], int(choices.top_k[row]), float(choices.top_p[row]))
            # The probabilities of a prime are rarely needed: only its end is looked up.
            told = choices.tell is not None and choices.tell[row]
            known = 0 if told else int(np.argmin(np.append(forced[:, row], NOTHING) >= 0))
            written = self._write(
                read, forced[:, row], known, uniforms[:, row], how, logits[:, row]
            )
            chosen[:, row] = written
            kept = [*read, *written[:-1]][-self.model.order :] if self.model.order else []
            remembered[0, row, self.model.order - len(kept) :] = kept
        return chosen, logits, Rows(chosen[-1].copy(), (remembered,))

    def _write(
        self,
        read: list[int],
        forced: Ids,
        known: int,
        uniforms: Floats,
        how: tuple[Floats, int, float],
        logits: NDArray[np.float32],
    ) -> list[int]:
        """Returns the ids of one row, and fills in its logits after the first ``known`` ids."""
        temperatures, top_k, top_p = how
        written: list[int] = forced[:known].tolist()
        runs = self.model.index.read([*read, *written])
        for step in range(len(written), len(forced)):
            id_ = int(forced[step])
            logits[step] = np.log(self.model.distribution(runs))
            if id_ < 0:
                draw = float(uniforms[step])
                id_ = choose(logits[step], float(temperatures[step]), draw, top_k, top_p)
            written.append(id_)
            runs = self.model.index.extend(runs, id_)
        return written
