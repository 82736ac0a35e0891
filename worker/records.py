"""Reads the JSON records of the data directory without trusting them.

A power cut, a failing disk or a person may leave anything in a file. A record is what its class
says, or it is damaged, and its reader says so and works on with the others. Knows no record.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.errors import Damaged
from models.files import CheckpointError, parse_object, read_bounded
from models.places import is_there

Kind = TypeVar("Kind")

MAX_RECORD = 8 << 20

RECORD = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
"""For ``pydantic.with_config``: what another release added stays."""

Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
"""Figures that are safe in any arithmetic."""


class DamagedRecord(Damaged):
    """A record that cannot be used; the message says what is wrong and names no path."""


class Records(Generic[Kind]):
    """Records of one kind, a ``TypedDict`` or a dataclass.

    Args:
        kind: the class.
        partial: parts may be missing, as those that another release did not write yet; not for a
            dataclass.
    """

    def __init__(self, kind: type[Kind], *, partial: bool = False) -> None:
        self._adapter = TypeAdapter(kind)
        self._partial = partial

    def read(self, path: Path) -> Kind | None:
        """Reads a file; None if there is none.

        Raises:
            DamagedRecord: it cannot be read, or is not such a record.
        """
        if not is_there(path):
            return None
        try:
            data = read_bounded(path, MAX_RECORD)
        except CheckpointError as error:
            if not is_there(path):
                return None
            raise DamagedRecord(str(error)) from None
        return self.parse(data, path.name)

    def parse(self, data: bytes, name: str) -> Kind:
        """Reads a JSON object; ``name`` is for the message.

        Raises:
            DamagedRecord: it is not such a record.
        """
        if not data.strip(b" \t\r\n\0"):
            raise DamagedRecord(f"{name} is empty")
        try:
            value = parse_object(data, name)
        except CheckpointError as error:
            raise DamagedRecord(str(error)) from None
        return self.check(value, name)

    def check(self, value: dict[str, Any], name: str) -> Kind:
        """Checks what was a JSON object, and returns it as a record.

        Raises:
            DamagedRecord: it is not such a record.
        """
        try:
            # As JSON: only from there a strict check takes an object for a dataclass.
            return self._adapter.validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            wrong = [one for one in error.errors(include_url=False) if not self._excused(one)]
        if wrong:
            place = ".".join(map(str, wrong[0]["loc"])) or "it"
            raise DamagedRecord(f"{name} is damaged: {place} is not what belongs there")
        return cast(Kind, value)

    def _excused(self, error: Any) -> bool:
        return self._partial and error["type"] == "missing"
