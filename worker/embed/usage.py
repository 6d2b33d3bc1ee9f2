"""What was sent within the last 60 seconds, by the second. Pure."""

from collections import deque

MINUTE_S = 60.0


class Usage:
    """Requests and tokens of the last minute. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._seconds: deque[list[float]] = deque()  # [second, requests, tokens]
        self._requests = 0.0
        self._tokens = 0.0

    def add(self, requests: float, tokens: float, now_s: float) -> None:
        """So much goes now; negative: it was refused, or less than thought."""
        self._forget(now_s)
        second = now_s // 1
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0.0, 0.0])
        self._seconds[-1][1] += requests
        self._seconds[-1][2] += tokens
        self._requests += requests
        self._tokens += tokens

    def last_minute(self, now_s: float) -> tuple[float, float]:
        """(requests, tokens) of the last 60 s."""
        self._forget(now_s)
        return max(0.0, self._requests), max(0.0, self._tokens)

    def _forget(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] < now_s - MINUTE_S:
            _, requests, tokens = self._seconds.popleft()
            self._requests -= requests
            self._tokens -= tokens
