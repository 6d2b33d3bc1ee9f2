"""Whether the collection equals the fold of the topic.

Promises a verdict that owes nothing to the path by which the documents got there: the topic is folded anew, and the
fold compared with manifests, and these with points. Holds what it knows on disk, so a topic of any size fits.
"""

from worker.verify.differences import Difference, Kind, Report
from worker.verify.fold import Expectation, Fold, FoundPoint, Horizon

__all__ = ["Difference", "Expectation", "Fold", "FoundPoint", "Horizon", "Kind", "Report"]
