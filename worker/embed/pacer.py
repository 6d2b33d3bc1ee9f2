"""When the next request may go: the seam behind which pacing lives, and the plain pacing of now."""

from typing import Protocol

USED = 0.98  # of the limits: the server's window may begin where it is worst for us, and estimates are off
SLACK_MINUTES = 0.004  # what a request may go early, so that a late timer costs nothing
MINUTE_S = 60.0


class Pacer(Protocol):
    """Grants requests under a key's limits. Times are seconds of the caller's clock, which never goes back."""

    def ready_at(self, now_s: float) -> float:
        """When the next request may go; not after `now_s` means now. Independent of its size: it is charged after."""

    def charge(self, tokens: float, now_s: float) -> None:
        """A request of so many estimated tokens goes now."""

    def correct(self, charged_tokens: float, billed_tokens: float | None) -> None:
        """The answer names what was billed; None when it was refused unread (429) and nothing counts."""


class SpacingPacer:
    """Even spacing on both limits, charged whole when a request goes (a debt), so a large one only delays the next."""

    def __init__(self, requests_per_minute: float, tokens_per_minute: float) -> None:
        self._per_request_s = MINUTE_S / (USED * requests_per_minute)
        self._per_token_s = MINUTE_S / (USED * tokens_per_minute)
        self._requests_free_at_s = float("-inf")
        self._tokens_free_at_s = float("-inf")

    def ready_at(self, now_s: float) -> float:
        """When both debts are paid, but for the slack."""
        return max(self._requests_free_at_s, self._tokens_free_at_s) - SLACK_MINUTES * MINUTE_S

    def charge(self, tokens: float, now_s: float) -> None:
        """Add one request and its tokens to the debts."""
        self._requests_free_at_s = max(self._requests_free_at_s, now_s) + self._per_request_s
        self._tokens_free_at_s = max(self._tokens_free_at_s, now_s) + tokens * self._per_token_s

    def correct(self, charged_tokens: float, billed_tokens: float | None) -> None:
        """Add what the estimate missed, or take back what it had too much."""
        self._tokens_free_at_s += ((billed_tokens or 0) - charged_tokens) * self._per_token_s
