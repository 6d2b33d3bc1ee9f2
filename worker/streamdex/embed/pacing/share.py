"""The replica's share of the key's limits, from its share of the partitions. Pure: time is an argument.

Replicas do not talk to each other. Each may use its partitions over all partitions: with 2 of 8 a quarter of the
limits. So the shares of a group sum up to at most 1, as long as no replica uses a share that it no longer has:

- A revocation takes the share away at once, inside its callback, before anyone else is given the partitions.
- An assignment gives the smaller of the shares before and now at once, and a larger one only after `QUIET_S` seconds
  without another assignment, so that a storm of rebalances starves nobody. The wait is a second safeguard. Kafka
  assigns nothing before every member has been through its revocation or was silent for a session timeout, and a member
  hears of a rebalance with its next heartbeat, at most `QUIET_S` later. An assignment of all partitions counts at once:
  nobody else has one, so a worker that is alone need not wait.
- Without proof of membership for a session timeout the share is 0, because after such a silence the coordinator gives
  the member's partitions away. The proof is an accepted commit; aiokafka shows neither heartbeats nor polls.
"""

from dataclasses import dataclass

QUIET_S = 3.0  # the longest time between two heartbeats; twice as much costs 6 % of the limits in a storm each 20 s


@dataclass(frozen=True, slots=True)
class ShareStatistics:
    """A snapshot: `in_force` may be used now, `full` is what the assignment gives after `QUIET_S`."""

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
        """All partitions leave, since the group's protocol is eager: nothing may be used until the next assignment."""
        if self._assigned_s is not None:
            self._before = self._settled(now_s)
        self._assigned_s = None

    def proven(self, now_s: float) -> None:
        """Kafka accepted a commit that was sent at this time, so the partitions were still ours then."""
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
