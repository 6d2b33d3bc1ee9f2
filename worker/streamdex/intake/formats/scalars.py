"""Times as RFC 3339 writes them, in UTC, and numbers as exact as JSON has them."""

import re
from datetime import UTC, date, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)", re.ASCII)
_INTEGER = re.compile(r"0|-?[1-9]\d{0,18}", re.ASCII)
_INT64 = range(-(2**63), 2**63)


def utc(count: int, per_second: int) -> str | int:
    """The time so many units after 1970. What RFC 3339 has no year for, such as infinity, stays a number."""
    seconds, rest = divmod(count, per_second)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return count
    return f"{moment.isoformat()[:19]}{_decimals(rest, per_second)}Z"


def utc_text(text: str) -> str:
    """A time with an offset, moved to UTC. Other text stays as it is."""
    found = _ISO_TIMESTAMP.fullmatch(text)
    if found is None:
        return text
    try:
        moment = datetime.fromisoformat(found[1] + found[3]).astimezone(UTC)
    except (ValueError, OverflowError):  # a day that no calendar has, or a year beyond 1 to 9999
        return text
    decimals = (found[2] or "").rstrip("0").rstrip(".")
    return f"{moment.isoformat()[:19]}{decimals}Z"


def day(count: int) -> str | int:
    """The date so many days after 1970. What RFC 3339 has no year for stays a number."""
    try:
        return (date(1970, 1, 1) + timedelta(days=count)).isoformat()
    except OverflowError:
        return count


def time_of_day(count: int, per_second: int) -> str:
    """The time so many units after midnight. As in MySQL it may be negative, or longer than a day."""
    seconds, rest = divmod(abs(count), per_second)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    sign = "-" if count < 0 else ""
    return f"{sign}{hour:02}:{minute:02}:{second:02}{_decimals(rest, per_second)}"


def decimal(unscaled: int, scale: int) -> int | str:
    """An integer within 64 bits where the scale has no decimals, else text with all of them.

    The scale decides, not the value: a column keeps one kind, whether it holds 10.00 or 10.50.
    """
    if scale <= 0:
        return integer_or_text(str(unscaled * 10**-scale))
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    return f"{'-' if unscaled < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def integer_or_text(text: str) -> int | str:
    """The integer that the text writes, where it has 64 bits and would be written the same again; else the text."""
    if _INTEGER.fullmatch(text) and (number := int(text)) in _INT64:
        return number
    return text


def _decimals(rest: int, per_second: int) -> str:
    text = f"{rest:0{len(str(per_second)) - 1}}".rstrip("0")
    return "." + text if text else ""
