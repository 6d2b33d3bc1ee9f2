"""Whether the collection equals the fold of the topic.

Promises a verdict that owes nothing to the path by which the documents got there: the topic is folded anew, each
document's newest event held against its manifest, and the manifest against its points; and for each difference the
steps that would mend it. Holds what it knows on disk, so a topic of any size fits.
"""

from worker.verify.differences import MEANINGS, Difference, Kind, Report
from worker.verify.evidence import (
    Condemned,
    Evidence,
    Expectation,
    FoundPoint,
    Horizon,
    NoEvent,
    Spot,
    Where,
    place_of,
)
from worker.verify.fold import Fold
from worker.verify.judgement import Judgement, Standing, judge, tell
from worker.verify.mend import Mend, Tombstone, Write, plan_mend

__all__ = [
    "MEANINGS",
    "Condemned",
    "Difference",
    "Evidence",
    "Expectation",
    "Fold",
    "FoundPoint",
    "Horizon",
    "Judgement",
    "Kind",
    "Mend",
    "NoEvent",
    "Report",
    "Spot",
    "Standing",
    "Tombstone",
    "Where",
    "Write",
    "judge",
    "place_of",
    "plan_mend",
    "tell",
]
