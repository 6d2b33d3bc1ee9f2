"""Which values say yes. Strict: a value that could be meant either way is refused, never guessed."""

import re

from streamdex.errors import Reason
from streamdex.intake.formats.values import fault, kind_of

_TRUE = frozenset(("true", "1", "yes", "y", "t", "on"))
_FALSE = frozenset(("false", "0", "no", "n", "f", "off", ""))
_TIME = re.compile(r"\d{4}-\d\d-\d\d([t ]\d\d:\d\d.*)?")
_EPOCH_S = 100_000_000  # in 1973: no flag is that large, and no time of a delete that early


def is_true(value: object, where: str) -> bool:
    """Whether the value says yes: true, 1, "yes" … or a time, such as that of the delete. None says no.

    Raises RecordFault for anything else.
    """
    if value is None or type(value) is bool:
        return bool(value)
    if type(value) is int and (value in (0, 1) or value >= _EPOCH_S):
        return value != 0
    if type(value) is str:
        word = value.strip().lower()
        if word in _FALSE:
            return False
        if word in _TRUE or _TIME.fullmatch(word):
            return True
    message = f"{where} picks {kind_of(value)} that is neither true nor false; a condition such as op == 'd' is clearer"
    raise fault(message, Reason.WRONG_TYPE)
