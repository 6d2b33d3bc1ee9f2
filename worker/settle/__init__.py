"""Settlement: what may be committed, and when.

Promises that a commit never names an offset above an unsettled one, and that an ended assignment never commits. Pure,
but for the thin `Committer`.
"""

from worker.settle.committer import Committer
from worker.settle.ledger import Ledger, LedgerStatistics, Mark, PartitionStanding
from worker.settle.report import settled_twice_reporter
from worker.settle.start import start_offset
from worker.settle.tracker import Ticket, Tracker, TrackerStatistics

__all__ = [
    "Committer",
    "Ledger",
    "LedgerStatistics",
    "Mark",
    "PartitionStanding",
    "Ticket",
    "Tracker",
    "TrackerStatistics",
    "settled_twice_reporter",
    "start_offset",
]
