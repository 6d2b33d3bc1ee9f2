"""Kafka in: records from the topics, decoded into events, no more of them than the bounds allow.

Promises that records reach the flow in the order of their partition, each at least once, that nothing is read of a
partition before its start is known or after it left, and that only explicit offsets are committed.
"""

from worker.intake.consumer import Consumer
from worker.intake.decoder import Decoder
from worker.intake.gate import Gate, GateStatistics
from worker.intake.membership import Assignments
from worker.intake.reader import TopicReader
from worker.intake.share import Share, ShareStatistics

__all__ = ["Assignments", "Consumer", "Decoder", "Gate", "GateStatistics", "Share", "ShareStatistics", "TopicReader"]
