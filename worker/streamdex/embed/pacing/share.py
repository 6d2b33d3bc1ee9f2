"""The replica's share of the key's limits, from its share of the partitions. Pure: time is an argument.

Replicas do not talk to each other. What each may use is its partitions over all partitions, so the shares of a group
sum up to at most 1 by construction, as long as no replica uses a share that it no longer has:

- A revocation takes the share away at once, inside its callback, before anyone else is given the partitions.
- An assignment gives at once the smaller of the share before and the share now, and the larger one only after
  `QUIET_S` seconds without another assignment, so a storm of rebalances does not starve anyone. The wait is a second
  line: Kafka assigns nothing before every member has been through its revocation, or was not heard of for a session
  timeout; and a member hears of a rebalance by its next heartbeat, which is no longer away. An assignment of all
  partitions counts at once: nobody else has one, and so a worker that is alone need not wait.
- Without proof of membership for a session timeout the share is 0: the coordinator gives the partitions of a member
  away when it has heard nothing of it for so long. The proof is an accepted commit; aiokafka shows neither heartbeats
  nor polls.
"""

from dataclasses import dataclass

QUIET_S = 3.0  # the longest time between two heartbeats; twice as much costs 6 % of the limits in a storm each 20 s


@dataclass(frozen=True, slots=True)
class ShareStatistics:
    """A snapshot: `in_force` is what may be used now, `full` what the assignment gives once it has been quiet."""

    in_force: float
    full: float
    proven: bool


class Share:
    """What this replica may use of the key's limits, between 0 and 1."""

    def __init__(self, session_timeout_s: float) -> None:
        self._session_timeout_s = session_timeout_s
        self._before = 0.0  # what was in force when the last revocation came
        self._full = 0.0
        self._assigned_s: float | None = None  # None between a revocation and the next assignment
        self._proven_s: float | None = None

    def assigned(self, own_partitions: int, all_partitions: int, now_s: float) -> None:
        """Partitions came: `own_partitions` are ours now, of `all_partitions` of the subscription."""
        self._full = min(1.0, own_partitions / all_partitions) if all_partitions else 0.0
        self._assigned_s = now_s

    def revoked(self, now_s: float) -> None:
        """All partitions leave, as the group's protocol is eager: nothing may be used until the next assignment."""
        if self._assigned_s is not None:
            self._before = self._settled(now_s)
        self._assigned_s = None

    def proven(self, now_s: float) -> None:
        """Kafka accepted a commit that was sent at this time: until then at least, the partitions were ours."""
        self._proven_s = now_s

    def at(self, now_s: float) -> float:
        """The share in force now."""
        if self._assigned_s is None or not self._is_proven(now_s):
            return 0.0
        return self._settled(now_s)

    def statistics(self, now_s: float) -> ShareStatistics:
        """A snapshot for metrics and the status."""
        return ShareStatistics(self.at(now_s), self._full, self._is_proven(now_s))

    def _settled(self, now_s: float) -> float:
        quiet = self._assigned_s is not None and now_s - self._assigned_s >= QUIET_S
        return self._full if quiet or self._full == 1.0 else min(self._before, self._full)

    def _is_proven(self, now_s: float) -> bool:
        return self._proven_s is not None and now_s - self._proven_s < self._session_timeout_s
