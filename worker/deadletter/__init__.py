"""The way out: records that are proven to be at fault, byte for byte, into a topic of their own.

Promises that `send` returns only when the letter is acknowledged, and that nothing of the record is changed.
"""

from worker.deadletter.headers import LetterFacts, count_replays, parse_letter, replay_headers
from worker.deadletter.producer import DeadLetters

__all__ = ["DeadLetters", "LetterFacts", "count_replays", "parse_letter", "replay_headers"]
