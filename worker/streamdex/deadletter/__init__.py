"""The way out: records that are proven to be at fault, byte for byte, into a topic of their own.

Promises that `send` returns only when the dead letter is acknowledged, and that nothing of the record is changed. For
the way back: which dead letters there are, and a resender for those that are tried again.
"""

from streamdex.deadletter.headers import DeadLetterFacts, count_replays, parse_dead_letter, replay_headers
from streamdex.deadletter.listing import MOST_REPLAYS, DeadLetterIndex, ListedDeadLetter, Stays, Wanted, why_it_stays
from streamdex.deadletter.producer import DeadLetters
from streamdex.deadletter.resender import Resender

__all__ = [
    "MOST_REPLAYS",
    "DeadLetterFacts",
    "DeadLetterIndex",
    "DeadLetters",
    "ListedDeadLetter",
    "Resender",
    "Stays",
    "Wanted",
    "count_replays",
    "parse_dead_letter",
    "replay_headers",
    "why_it_stays",
]
