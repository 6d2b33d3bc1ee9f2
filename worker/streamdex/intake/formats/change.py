"""What a record of any format says: one row that was written or deleted, or nothing that is a document."""

from enum import StrEnum
from typing import NamedTuple

from streamdex.model import JsonObject


class ChangeKind(StrEnum):
    """What happened to the row."""

    UPSERT = "upsert"
    DELETE = "delete"
    IGNORED = "ignored"


class Change(NamedTuple):
    """One row's change, out of its wrapper.

    `row` is the row as it is after an upsert; of a delete what is known of it, at least its key. `unavailable` are the
    fields of it that the source left out because they did not change: a placeholder stands there or nothing. `sequence`
    is the source's own order of changes where it has one (an integer), `why` what an ignored record is (a heartbeat …).
    """

    kind: ChangeKind
    row: JsonObject
    unavailable: frozenset[str] = frozenset()
    sequence: int | None = None
    why: str = ""

    def __repr__(self) -> str:
        """The kind alone: rows belong to the user."""
        return f"Change({self.kind})"
