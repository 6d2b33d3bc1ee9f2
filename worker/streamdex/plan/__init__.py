"""What must be done for an event: pure decisions.

Lanes let one event of a document through at a time; ranks order them; chunks get content-addressed ids; the difference
to the manifest says what must be embedded and written. Nothing here waits, reads a clock or talks to anyone.
"""

from streamdex.plan.chunks import Chunker, cutting_digest
from streamdex.plan.difference import Overtaken, Planner, outcome_of, overtaken
from streamdex.plan.lanes import Lanes
from streamdex.plan.rank import Bases, Ranking

__all__ = ["Bases", "Chunker", "Lanes", "Overtaken", "Planner", "Ranking", "cutting_digest", "outcome_of", "overtaken"]
