"""Texts and names to their end, however many servers write them.

A server that stops ends a text with the state to continue it from. Where one is lost without a
word, the same request gives the same text again: what was had of it is skipped. Knows no output.
"""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from app.supervisor.errors import UserError
from app.terminal.client import Client, Passing
from app.terminal.patience import Patience

SEEDS = 2**53
"""Seeds are drawn below: here, so that a text can be asked for again."""

_DEFAULT_LENGTH = 1000

_EARLY = {
    "copied": "every character that could follow would copy the corpus",
    "error": "the network's output overflowed, or it was read too slowly for a full service",
}
"""Why a text ends that no server continues."""


def text(client: Client, fields: Mapping[str, Any]) -> Iterator[str]:
    """Yields a text of ``POST /sample`` as it is written, from its beginning to its end.

    Raises:
        UserError: it is refused, or ends early.
    """
    rest = _Rest({"seed": secrets.randbelow(SEEDS), **fields})
    while not rest.is_over:
        try:
            yield from rest.answer(client)
        except Passing as error:
            rest.lost(error)


class _Rest:
    """What is still to be asked for, and how many characters of its answer were had before."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.is_over = False
        self._fields = fields
        self._had = 0
        self._seen = 0
        self._begun = False
        self._checkpoint = _Checkpoint()
        self._patience = Patience()

    def answer(self, client: Client) -> Iterator[str]:
        """Yields what is new in an answer. Raises UserError."""
        self._seen = 0
        for event in client.events("POST", "/sample", self._fields, heard=self._checkpoint.check):
            if event.name == "text":
                written = event.data["text"]
                new = written[max(0, self._had - self._seen) :]
                self._seen += len(written)
                if new:
                    self._begun = True
                    self._patience.progressed()
                    yield new
            elif event.name == "end":
                self._ended(event.data)

    def _ended(self, end: Mapping[str, Any]) -> None:
        reason = end["finish_reason"]
        if reason in ("length", "stop"):
            self.is_over = True
        elif reason != "shutdown":
            raise UserError(_EARLY.get(reason, "the service says no more than " + reason))
        else:
            self._had = max(self._had, self._seen)
            if end["state"] is not None:
                self._begun = True
                self._continue_from(end["state"], end["characters"])
            self._seen = 0
            raise Passing("the service stops", moves=True)

    def _continue_from(self, state: str, characters: int) -> None:
        """The rest begins after the answer, which had so many characters beside the echo."""
        self._patience.progressed()
        self._had -= self._seen
        length = self._fields.get("length", _DEFAULT_LENGTH) - characters
        kept = {k: v for k, v in self._fields.items() if k not in ("prime", "echo")}
        self._fields = kept | {"continue_from": state, "length": length}

    def lost(self, error: Passing) -> None:
        """Waits before the next answer. Raises the error if another answer would not help."""
        self._had = max(self._had, self._seen)
        if not self._begun:
            self._checkpoint = _Checkpoint()
            if not error.moves:
                raise error
        self._patience.wait_for_more(error)


def names(client: Client, fields: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of ``GET /names``, each as it is found.

    Raises:
        UserError: they are refused, or end early.
    """
    asked = {"seed": secrets.randbelow(SEEDS), **fields}
    found, patience, checkpoint = 0, Patience(), _Checkpoint()
    while True:
        try:
            for number, name in enumerate(client.lines("/names", asked, heard=checkpoint.check)):
                if number == found:
                    found += 1
                    patience.progressed()
                    yield name
        except Passing as error:
            if not found and not error.moves:
                raise
            patience.wait_for_more(error)
        else:
            return


class _Checkpoint:
    """Notices an answer of another checkpoint than the first one, whose text would be another."""

    def __init__(self) -> None:
        self._digest: str | None = None

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises UserError."""
        digest = headers.get("x-model-digest")
        if self._digest not in (None, digest):
            raise UserError("the model was trained further meanwhile")
        self._digest = digest
