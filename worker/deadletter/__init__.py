"""The way out: records that are proven to be at fault, byte for byte, into a topic of their own.

Promises that `send` returns only when the letter is acknowledged, and that nothing of the record is changed. And the
way back: which letters there are, and a resender for those that are to be tried again.
"""

from worker.deadletter.headers import LetterFacts, count_replays, parse_letter, replay_headers
from worker.deadletter.producer import DeadLetters
from worker.deadletter.register import MOST_REPLAYS, Entry, Register, Stays, Wanted, why_it_stays
from worker.deadletter.resender import Resender

__all__ = [
    "MOST_REPLAYS",
    "DeadLetters",
    "Entry",
    "LetterFacts",
    "Register",
    "Resender",
    "Stays",
    "Wanted",
    "count_replays",
    "parse_letter",
    "replay_headers",
    "why_it_stays",
]
