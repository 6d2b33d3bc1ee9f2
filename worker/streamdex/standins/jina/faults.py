"""Faults on purpose: what goes wrong, when, and how often it did. Pure: time and random numbers are arguments.

A request claims a fault, which then has fired: so `fired` counts what clients really met.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum

import numpy as np

from streamdex.standins.jina.answers import ErrorAnswer, FieldError, Row, validation_error


class JinaFaultKind(StrEnum):
    """What goes wrong. In brackets the argument, optional unless said otherwise."""

    STATUS = "status"  # an error of this status (required: 503, or 403:AUTHZ_INSUFFICIENT_BALANCE with its code)
    REFUSE = "refuse"  # 400 "Failed to encode text" (the marker text that an input must contain)
    HTML = "html"  # a proxy's page instead of JSON (its status, default 502; 200 is possible)
    TRUNCATED_JSON = "truncated-json"  # half of a correct answer, as a whole body
    WRONG_COUNT = "wrong-count"  # rows too few or too many (-1, +2; default -1)
    DUPLICATE_INDEX = "duplicate-index"  # two rows with the same index
    MISSING_INDEX = "missing-index"  # a row without index
    INDEX_OUT_OF_RANGE = "index-out-of-range"  # a row whose index no input has
    SHUFFLED = "shuffled"  # rows in another order, which is allowed
    WRONG_DIMENSION = "wrong-dimension"  # a vector one number short
    NAN = "nan"  # a vector with NaN (null in JSON numbers)
    INFINITE = "inf"  # a vector with infinity (null in JSON numbers)
    ZERO = "zero"  # a zero vector
    HANG = "hang"  # no answer until the client leaves, or the connection is cut (after so many seconds)
    DRIP = "drip"  # a correct answer, byte by byte (over so many seconds, default 1)
    RESET = "reset"  # the connection is cut
    CUT = "cut"  # the connection is cut after half of a correct answer, which is billed
    THROTTLE = "throttle"  # 429 with Retry-After (seconds, date:SECONDS from now, or absurd; default none)


DEFAULT_DRIP_S = 1.0
ABSURD = "absurd"
ABSURD_RETRY_AFTER_S = 31_536_000
_ROWS = frozenset(
    {
        JinaFaultKind.WRONG_COUNT,
        JinaFaultKind.DUPLICATE_INDEX,
        JinaFaultKind.MISSING_INDEX,
        JinaFaultKind.INDEX_OUT_OF_RANGE,
        JinaFaultKind.SHUFFLED,
        JinaFaultKind.WRONG_DIMENSION,
        JinaFaultKind.NAN,
        JinaFaultKind.INFINITE,
        JinaFaultKind.ZERO,
    }
)
_CODES = {
    400: ("Failed to encode text", None),
    401: ("Invalid API key.", "AUTH_INVALID_API_KEY"),
    402: ("Insufficient account balance.", "AUTHZ_INSUFFICIENT_BALANCE"),
    403: ("Insufficient account balance.", "AUTHZ_INSUFFICIENT_BALANCE"),
    404: ("The requested resource was not found.", "RESOURCE_NOT_FOUND"),
    409: ("The resource is busy.", "CONFLICT_RESOURCE_BUSY"),
    429: ("Request rate limit exceeded: 500/500 requests per minute.", "RATE_REQUEST_LIMIT_EXCEEDED"),
    500: ("Internal server error.", "INTERNAL_ERROR"),
    503: ("Service unavailable.", "SERVICE_UNAVAILABLE"),
    504: ("The service did not answer in time.", "SERVICE_TIMEOUT"),
}


@dataclass(slots=True)
class JinaFault:
    """One fault and when it happens. Raises ValueError when the argument does not fit the kind.

    `match`: only to requests with an input that contains it. `times`: so often and then no more. `duration_s`: so
    long after it was added. `probability`: by chance. `fired`: how many requests met it so far.
    """

    kind: JinaFaultKind
    argument: str = ""
    match: str | None = field(default=None, repr=False)
    times: int | None = None
    duration_s: float | None = None
    probability: float = 1.0
    fired: int = field(default=0, init=False)
    _until_s: float | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.kind = JinaFaultKind(self.kind)
        if self.kind is JinaFaultKind.REFUSE:
            self.match = self.match or self.argument or None
            self.argument = ""
        _check_argument(self)

    @property
    def spoils_rows(self) -> bool:
        """Whether it changes the vectors of an otherwise correct answer."""
        return self.kind in _ROWS

    def retry_after(self, wall_clock_s: float) -> str | None:
        """The Retry-After of a throttle, at this time of day in epoch seconds."""
        if self.argument == ABSURD:
            return str(ABSURD_RETRY_AFTER_S)
        form, _, seconds = self.argument.rpartition(":")
        # HTTP dates have whole seconds; rounded up, a client that obeys is not early.
        return formatdate(math.ceil(wall_clock_s + float(seconds)), usegmt=True) if form else seconds or None

    @property
    def seconds(self) -> float | None:
        """The argument of hang and drip."""
        return float(self.argument) if self.argument else None

    @property
    def status(self) -> int:
        """The status that html answers with."""
        return int(self.argument or 502)

    def place(self, texts: Sequence[str]) -> int:
        """Which row it spoils: the one of the first input that matches."""
        return next((place for place, text in enumerate(texts) if self.match and self.match in text), 0)

    def _applies(self, texts: Sequence[str], rng: Callable[[], float]) -> bool:
        if self.match is not None and not any(self.match in text for text in texts):
            return False
        return self.probability >= 1.0 or rng() < self.probability

    def _is_over(self, now_s: float) -> bool:
        used_up = self.times is not None and self.fired >= self.times
        return used_up or (self._until_s is not None and now_s >= self._until_s)


class JinaFaults:
    """The faults that are set, in the order they were added: a request meets the first that applies."""

    def __init__(self) -> None:
        self._set: list[JinaFault] = []
        self.fired: Counter[JinaFaultKind] = Counter()

    def add(self, fault: JinaFault, now_s: float) -> JinaFault:
        """Set a fault; the same object is given back, to ask it how often it fired."""
        if fault.duration_s is not None:
            fault._until_s = now_s + fault.duration_s
        self._set.append(fault)
        return fault

    @property
    def active(self) -> tuple[JinaFault, ...]:
        """Those that are set."""
        return tuple(self._set)

    def clear(self, fault: JinaFault | None = None) -> None:
        """Clear one fault, or all; safe twice. What has fired stays counted."""
        self._set = [] if fault is None else [other for other in self._set if other is not fault]

    def claim(
        self, texts: Sequence[str], now_s: float, rng: Callable[[], float], header: JinaFault | None = None
    ) -> JinaFault | None:
        """The fault that a request with these inputs meets, now counted as fired. `header`: the one it asked for."""
        self._set = [fault for fault in self._set if not fault._is_over(now_s)]
        candidates = [header, *self._set] if header else self._set
        for fault in candidates:
            if fault._applies(texts, rng):
                fault.fired += 1
                self.fired[fault.kind] += 1
                return fault
        return None


def from_header(value: str) -> JinaFault:
    """The fault of a request header, `kind` or `kind:argument`. Raises ValueError."""
    kind, _, argument = value.strip().partition(":")
    return JinaFault(JinaFaultKind(kind), argument)


def error_of(fault: JinaFault) -> ErrorAnswer | None:
    """The error that a fault answers with instead of vectors; None for the other kinds."""
    if fault.kind is JinaFaultKind.REFUSE:
        return ErrorAnswer(400, "Failed to encode text")
    if fault.kind is JinaFaultKind.THROTTLE:
        return ErrorAnswer(429, *_CODES[429])
    if fault.kind is not JinaFaultKind.STATUS:
        return None
    number, _, code = fault.argument.partition(":")
    if number == "422" and not code:
        return validation_error([FieldError("body -> input", "Input should be a valid string", "string_type")])
    message, usual = _CODES.get(int(number), ("An error on purpose.", None))
    return ErrorAnswer(int(number), message, code or usual)


def spoil(rows: list[Row], fault: JinaFault, place: int) -> list[Row]:
    """The rows as the fault leaves them; `place` is the row to spoil. The rows given are not changed."""
    match fault.kind:
        case JinaFaultKind.WRONG_COUNT:
            return _miscounted(rows, int(fault.argument or -1))
        case JinaFaultKind.SHUFFLED:
            return rows[::-1]
        case JinaFaultKind.DUPLICATE_INDEX if len(rows) == 1:
            return [rows[0], rows[0]]
        case _:
            return [*rows[:place], _spoiled(rows, fault.kind, place), *rows[place + 1 :]]


def _miscounted(rows: list[Row], difference: int) -> list[Row]:
    if difference < 0:
        return rows[:difference]
    return [*rows, *(Row(rows[-1].vector, len(rows) + extra) for extra in range(difference))]


def _spoiled(rows: list[Row], kind: JinaFaultKind, place: int) -> Row:
    row = Row(rows[place].vector.copy(), rows[place].index)
    match kind:
        case JinaFaultKind.DUPLICATE_INDEX:
            row.index = rows[place - 1].index
        case JinaFaultKind.MISSING_INDEX:
            row.index = None
        case JinaFaultKind.INDEX_OUT_OF_RANGE:
            row.index = len(rows)
        case JinaFaultKind.WRONG_DIMENSION:
            row.vector = row.vector[:-1]
        case JinaFaultKind.NAN:
            row.vector[0] = np.nan
        case JinaFaultKind.INFINITE:
            row.vector[-1] = np.inf
        case JinaFaultKind.ZERO:
            row.vector[:] = 0.0
    return row


def _check_argument(fault: JinaFault) -> None:
    """Raise ValueError now rather than when the fault is met."""
    argument = fault.argument
    match fault.kind:
        case JinaFaultKind.STATUS:
            if not 400 <= int(argument.partition(":")[0] or 0) <= 599:
                raise ValueError("status wants an error status, such as 503")
        case JinaFaultKind.HTML:
            if not 200 <= fault.status <= 599:
                raise ValueError("html takes a status, such as 502")
        case JinaFaultKind.WRONG_COUNT:
            if int(argument or -1) == 0:
                raise ValueError("wrong-count takes a difference, such as -1")
        case JinaFaultKind.HANG | JinaFaultKind.DRIP:
            _check_seconds(fault.kind, argument)
        case JinaFaultKind.REFUSE:
            if fault.match is None:
                raise ValueError("refuse wants the marker text")
        case JinaFaultKind.THROTTLE if argument != ABSURD:
            _check_seconds(fault.kind, argument.removeprefix("date:"))
        case JinaFaultKind.THROTTLE:
            pass
        case _ if argument:
            raise ValueError(f"{fault.kind} takes no argument")


def _check_seconds(kind: JinaFaultKind, argument: str) -> None:
    if float(argument or 0) < 0:
        raise ValueError(f"{kind} takes seconds")
