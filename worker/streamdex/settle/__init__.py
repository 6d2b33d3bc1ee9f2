"""Settlement: what may be committed, and when.

Promises that a commit never names an offset above an unsettled one, and that an ended assignment never commits. Pure,
but for the thin `Committer`.
"""

from streamdex.settle.committer import Committer, settled_twice_reporter
from streamdex.settle.ledger import Ledger, LedgerStatistics, Mark, PartitionStatus
from streamdex.settle.start import start_offset
from streamdex.settle.tracker import Ticket, Tracker, TrackerStatistics

__all__ = [
    "Committer",
    "Ledger",
    "LedgerStatistics",
    "Mark",
    "PartitionStatus",
    "Ticket",
    "Tracker",
    "TrackerStatistics",
    "settled_twice_reporter",
    "start_offset",
]
