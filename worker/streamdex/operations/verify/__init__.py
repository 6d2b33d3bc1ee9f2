"""Whether the collection equals the fold of the topic, and its repair.

`verify_collection` promises an answer that owes nothing to how the documents got there: it folds the topic again, and
compares each document's newest event with its manifest, and the manifest with its points. `repair_collection` fixes
what differs, and never overwrites anything newer. What they know is on disk, so a topic of any size fits.
"""

from streamdex.operations.verify.differences import MEANINGS, Difference, DifferenceKind, Report
from streamdex.operations.verify.evidence import Spot, place_of
from streamdex.operations.verify.repair import Repaired, RepairResult, repair_collection
from streamdex.operations.verify.verification import OnProgress, dead_letter_topics, verify_collection

__all__ = [
    "MEANINGS",
    "Difference",
    "DifferenceKind",
    "OnProgress",
    "RepairResult",
    "Repaired",
    "Report",
    "Spot",
    "dead_letter_topics",
    "place_of",
    "repair_collection",
    "verify_collection",
]
