"""Whether the collection equals the fold of the topic.

Promises a verdict that owes nothing to the path by which the documents got there: the topic is folded anew, each
document's newest event held against its manifest, and the manifest against its points; and for each difference the
steps that would mend it. Holds what it knows on disk, so a topic of any size fits.
"""

from streamdex.operations.verify.differences import MEANINGS, Difference, DifferenceKind, Report
from streamdex.operations.verify.evidence import (
    Evidence,
    Expectation,
    FoundPoint,
    Horizon,
    NoEvent,
    Spot,
    Unindexable,
    Where,
    place_of,
)
from streamdex.operations.verify.fold import Fold
from streamdex.operations.verify.judgement import Judgement, Standing, judge, tell
from streamdex.operations.verify.repair_plan import RepairSteps, Tombstone, Write, plan_repair

__all__ = [
    "MEANINGS",
    "Difference",
    "DifferenceKind",
    "Evidence",
    "Expectation",
    "Fold",
    "FoundPoint",
    "Horizon",
    "Judgement",
    "NoEvent",
    "RepairSteps",
    "Report",
    "Spot",
    "Standing",
    "Tombstone",
    "Unindexable",
    "Where",
    "Write",
    "judge",
    "place_of",
    "plan_repair",
    "tell",
]
