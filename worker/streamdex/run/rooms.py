"""What the flow is given: the rooms that it calls, and what this deployment ranks events by."""

from dataclasses import dataclass, field

from streamdex.index import Index
from streamdex.intake import BackPressure, Decoder
from streamdex.model import Order
from streamdex.plan import Planner
from streamdex.settle import Ledger
from streamdex.telemetry import Health, Metrics


@dataclass(slots=True)
class Standing:
    """What turns positions into ranks in this deployment; `bases` grow as partitions are assigned."""

    order: Order
    epoch: int
    generation: int
    bases: dict[tuple[str, int, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms that the flow calls, and that never call it back."""

    decoder: Decoder
    planner: Planner
    index: Index
    ledger: Ledger
    back_pressure: BackPressure
    health: Health
    metrics: Metrics
