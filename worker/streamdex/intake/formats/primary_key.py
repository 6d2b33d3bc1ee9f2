"""Whether an update moved its row to another primary key, in formats that say so in one record."""

from collections.abc import Iterable

from streamdex.intake.formats.fields import shown
from streamdex.intake.formats.values import fault
from streamdex.model import JsonObject


def check_key_is_kept(row: JsonObject, old: object, key_columns: Iterable[object]) -> None:
    """Raise a RecordFault where an update changed the primary key.

    Such a record would have to delete one document and write another. To write the new one alone would leave the old
    one in the collection for ever. `old` are the former values of the columns that changed.
    """
    if type(old) is not dict:
        return
    for column in key_columns:
        if type(column) is str and column in old and old[column] != row.get(column):
            raise fault(
                f"the update changes {shown(column)}, which is part of the primary key; "
                "one record can change one document only"
            )
