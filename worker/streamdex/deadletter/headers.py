"""The headers of a dead letter: written beside the record's own, read again to list and to replay. Pure.

All begin with `__streamdex.`. Those of a former round are replaced, not doubled.
"""

from typing import NamedTuple

from streamdex.errors import RecordFault
from streamdex.kafka.position_headers import PREFIX, Headers, build_position, parse_number, parse_position
from streamdex.model import Position, Record

STAGE = PREFIX + "stage"
REASON = PREFIX + "reason"
MESSAGE = PREFIX + "message"
ATTEMPTS = PREFIX + "attempts"
FIRST_FAILED_AT = PREFIX + "first_failed_at"
WORKER = PREFIX + "worker"
REPLAYS = PREFIX + "replays"
MISPLACED = PREFIX + "misplaced"  # with any value

MESSAGE_BYTES = 512


class DeadLetterFacts(NamedTuple):
    """What a dead letter says of itself. `stage` and `reason` are plain text: a newer version may know more.

    `misplaced`: the record had come back with damaged position headers. Its `position` is where it stood then, behind
    events that are newer.
    """

    position: Position
    stage: str
    reason: str
    message: str
    attempts: int
    first_failed_at_ms: int
    worker: str
    replays: int
    misplaced: bool = False


def dead_letter_headers(
    record: Record, fault: RecordFault, position: Position, first_failed_at_ms: int, worker: str, replays: int = 0
) -> Headers:
    """The record's own headers as they are, then ours. A replayed record keeps its count of replays."""
    return (
        *_own(record),
        *build_position(position),
        (STAGE, fault.stage.value.encode()),
        (REASON, fault.reason.value.encode()),
        (MESSAGE, _at_most(fault.message, MESSAGE_BYTES)),
        (ATTEMPTS, b"%d" % fault.attempts),
        (FIRST_FAILED_AT, b"%d" % first_failed_at_ms),
        (WORKER, worker.encode()),
        (REPLAYS, b"%d" % max(replays, count_replays(record))),
        *(((MISPLACED, b"1"),) if _is_misplaced(record) else ()),
    )


def replay_headers(dead_letter: Record) -> Headers:
    """What a dead letter carries when it goes back to its topic: its own headers, its first position, one replay more.

    Raises ValueError when the dead letter does not say where it came from.
    """
    position = parse_position(dead_letter.headers)
    if position is None:
        raise ValueError("not a dead letter of streamdex")
    return (*_own(dead_letter), *build_position(position), (REPLAYS, b"%d" % (count_replays(dead_letter) + 1)))


def parse_dead_letter(dead_letter: Record) -> DeadLetterFacts:
    """What a dead letter says of itself. Raises ValueError for one that is not ours, or damaged."""
    position = parse_position(dead_letter.headers)
    if position is None:
        raise ValueError("not a dead letter of streamdex")
    found = {name: value or b"" for name, value in dead_letter.headers if name.startswith(PREFIX)}
    return DeadLetterFacts(
        position=position,
        stage=found.get(STAGE, b"").decode(),
        reason=found.get(REASON, b"").decode(),
        message=found.get(MESSAGE, b"").decode(),
        attempts=parse_number(found.get(ATTEMPTS)),
        first_failed_at_ms=parse_number(found.get(FIRST_FAILED_AT)),
        worker=found.get(WORKER, b"").decode(),
        replays=count_replays(dead_letter),
        misplaced=MISPLACED in found,
    )


def count_replays(record: Record) -> int:
    """How often a record has come back from the dead-letter topic; 0 where it does not say."""
    count = 0
    for name, value in record.headers:
        if name == REPLAYS:
            try:
                count = max(0, parse_number(value))
            except ValueError:
                count = 0
    return count


def _is_misplaced(record: Record) -> bool:
    try:
        parse_position(record.headers)
    except ValueError:
        return True
    return False


def _own(record: Record) -> Headers:
    return tuple(header for header in record.headers if not header[0].startswith(PREFIX))


def _at_most(text: str, limit_bytes: int) -> bytes:
    """The text in UTF-8, cut between characters."""
    encoded = text.encode(errors="replace")
    return encoded[:limit_bytes].decode(errors="ignore").encode()
