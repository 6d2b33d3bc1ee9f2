"""Plain JSON: the object in a record is the row, and every record writes it."""

from streamdex.intake.formats.change import Change, ChangeKind
from streamdex.model import JsonObject, Record


def change_of(body: JsonObject, _: Record) -> Change:
    """The row as it is; whether it is deleted is for `mapping.deleted` and `mapping.deleted_when` to say."""
    return Change(ChangeKind.UPSERT, body)
