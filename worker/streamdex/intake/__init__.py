"""Kafka in: records from the topics, decoded into events, no more of them than the bounds allow.

Promises that records reach the flow in the order of their partition, each at least once, that nothing is read of a
partition before its start is known or after it left, and that only explicit offsets are committed.
"""

from streamdex.intake.back_pressure import BackPressure, BackPressureStatistics
from streamdex.intake.consumer.consumer import Consumer
from streamdex.intake.consumer.membership import Assignments
from streamdex.intake.decoder import Decoder
from streamdex.intake.formats.ids import id_from_key

__all__ = ["Assignments", "BackPressure", "BackPressureStatistics", "Consumer", "Decoder", "id_from_key"]
