"""The runs of corpora, which texts must not copy: made when first asked for, the latest kept.

Knows corpora on disk; no model, no text and no client.
"""

import asyncio
from collections import OrderedDict

from app.engine.memory import MEMORY
from models.checkpoints.card import Card
from models.text.cleaning import CorpusError
from models.text.copies import MOST_SYMBOLS, Runs
from models.text.vocab import Tokens
from worker.corpora import CorpusDamaged, CorpusStore, UnknownCorpus

KEPT_BYTES = 256 << 20
"""Memory of the runs that are kept; the newest are, whatever their size."""


class NoRuns(Exception):
    """A model's corpus is not at hand, or too large; the message completes a field's name."""


class CorpusRuns:
    """Runs by corpus and length. One of them is made at a time, in a thread."""

    def __init__(self, corpora: CorpusStore) -> None:
        self._corpora = corpora
        self._kept: OrderedDict[tuple[str, Tokens, int], Runs] = OrderedDict()
        self._making = asyncio.Lock()

    async def get(self, card: Card, tokens: Tokens, copied: int) -> Runs:
        """The runs of ``copied + 1`` symbols of the corpus that a card names.

        Raises:
            NoRuns: it cannot be had.
        """
        corpus_id = card.get("corpus", {}).get("id", "")
        key = (corpus_id, tokens, copied)
        if key not in self._kept:
            async with self._making:
                if key not in self._kept:
                    self._keep(key, await asyncio.to_thread(self._make, *key))
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: tuple[str, Tokens, int], runs: Runs) -> None:
        self._kept[key] = runs
        MEMORY.watch(runs)
        while len(self._kept) > 1 and self._bytes() > KEPT_BYTES:
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        return sum(runs.bytes for runs in self._kept.values())

    def _make(self, corpus_id: str, tokens: Tokens, copied: int) -> Runs:
        try:
            characters = self._corpora.scan(corpus_id, tokens).report.characters
            if characters > MOST_SYMBOLS:
                raise NoRuns(
                    f"needs a corpus of at most {MOST_SYMBOLS:,} characters, and that of the model "
                    "is larger: leave the field out"
                )
            symbols = self._corpora.symbols(corpus_id, tokens)
        except UnknownCorpus:
            raise NoRuns(
                "needs the corpus of the model, which this server does not have: send the text "
                "that it was trained on to POST /corpora, or leave the field out"
            ) from None
        except CorpusError as error:
            raise NoRuns(f"needs the corpus of the model, which cannot be read: {error}") from None
        except CorpusDamaged:
            raise NoRuns(
                "needs the corpus of the model, which is damaged: send the text that it was "
                "trained on to POST /corpora again, or leave the field out"
            ) from None
        return Runs(symbols, copied)
