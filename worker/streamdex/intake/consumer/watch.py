"""Decides when a Kafka client must be recreated. aiokafka does not say itself that it is stuck or dead. Pure."""

from enum import StrEnum

POLL_STUCK_S = 120.0  # a rebalance may hold a poll for as long as the slowest member drains
POLL_FAILING_S = 15.0
COMMIT_FAILING_S = 120.0  # a broker that comes back within that is found again without our help
NO_MEMBER_S = 120.0  # a join may take as long as the slowest member drains


class ConsumerRestart(StrEnum):
    """Why a consumer was recreated: a label of the metric."""

    POLL_STUCK = "poll_stuck"
    POLL_FAILING = "poll_failing"
    COMMIT_FAILING = "commit_failing"
    NO_MEMBER = "no_member"
    TASK_DIED = "task_died"


class Watch:
    """Watches one consumer from the moment it was made. Times in seconds, of any one clock."""

    def __init__(self, now_s: float) -> None:
        self._polled_s = now_s
        self._member_s = now_s
        self._failing_since_s: float | None = None
        self._commits_failing_since_s: float | None = None

    @property
    def polled_s(self) -> float:
        """When a poll last came to an end, well or not; before the first, when the consumer was made."""
        return self._polled_s

    def polled(self, now_s: float) -> None:
        """A poll returned, with records or without."""
        self._polled_s = now_s
        self._failing_since_s = None

    def poll_failed(self, now_s: float) -> None:
        """A poll raised."""
        self._polled_s = now_s
        if self._failing_since_s is None:
            self._failing_since_s = now_s

    def was_member(self, now_s: float) -> None:
        """The consumer was a member of its group, or stayed out on purpose."""
        self._member_s = now_s

    def committed(self) -> None:
        """A commit was accepted."""
        self._commits_failing_since_s = None

    def commit_failed(self, now_s: float) -> None:
        """A commit was refused or not answered."""
        if self._commits_failing_since_s is None:
            self._commits_failing_since_s = now_s

    def cause(self, now_s: float, *, task_died: bool = False) -> ConsumerRestart | None:
        """Why the consumer must be recreated now; None while it may recover. `task_died`: one of its tasks did."""
        if task_died:
            return ConsumerRestart.TASK_DIED
        if now_s - self._polled_s > POLL_STUCK_S:
            return ConsumerRestart.POLL_STUCK
        if self._failing_since_s is not None and now_s - self._failing_since_s > POLL_FAILING_S:
            return ConsumerRestart.POLL_FAILING
        if self._commits_failing_since_s is not None and now_s - self._commits_failing_since_s > COMMIT_FAILING_S:
            return ConsumerRestart.COMMIT_FAILING
        if now_s - self._member_s > NO_MEMBER_S:  # polls go well meanwhile, and bring nothing
            return ConsumerRestart.NO_MEMBER
        return None
