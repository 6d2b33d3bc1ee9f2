"""What must be done for an event: pure decisions.

Lanes let one event of a document through at a time; ranks order them; chunks get content-addressed ids; the difference
to the manifest says what must be embedded and written. Nothing here waits, reads a clock or talks to anyone.
"""

from worker.plan.chunker import Chunker, cutting_digest
from worker.plan.difference import Overtaken, Planner, outcome_of
from worker.plan.lanes import Lanes
from worker.plan.rank import Bases, base_key, rank_of

__all__ = [
    "Bases",
    "Chunker",
    "Lanes",
    "Overtaken",
    "Planner",
    "base_key",
    "cutting_digest",
    "outcome_of",
    "rank_of",
]
