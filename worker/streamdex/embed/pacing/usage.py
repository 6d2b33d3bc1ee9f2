"""What was sent of late: by the second, over the last minute and the last two. Pure."""

from collections import deque

MINUTE_S = 60.0


class _Span:
    """Requests and tokens of the last so many seconds."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._seconds: deque[list[float]] = deque()  # [second, requests, tokens]
        self._requests = 0.0
        self._tokens = 0.0

    def add(self, requests: float, tokens: float, now_s: float) -> None:
        self.used(now_s)
        second = now_s // 1
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0.0, 0.0])
        self._seconds[-1][1] += requests
        self._seconds[-1][2] += tokens
        self._requests += requests
        self._tokens += tokens

    def used(self, now_s: float) -> tuple[float, float]:
        while self._seconds and self._seconds[0][0] < now_s - self._span_s:
            _, requests, tokens = self._seconds.popleft()
            self._requests -= requests
            self._tokens -= tokens
        return max(0.0, self._requests), max(0.0, self._tokens)


class Usage:
    """Requests and tokens sent. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self._minute = _Span(MINUTE_S)
        self._two_minutes = _Span(2 * MINUTE_S)

    def add(self, requests: float, tokens: float, now_s: float) -> None:
        """So much goes now; negative: it was refused, or less than thought."""
        self._minute.add(requests, tokens, now_s)
        self._two_minutes.add(requests, tokens, now_s)

    def last_minute(self, now_s: float) -> tuple[float, float]:
        """(requests, tokens) of the last 60 s."""
        return self._minute.used(now_s)

    def sustained(self, now_s: float, busy_s: float) -> tuple[float, float]:
        """(requests, tokens) a minute that the service has borne, `busy_s` seconds of all that we had.

        A counter that starts anew each minute gives less after a minute that got too much. So what two minutes had on
        average counts, too, if we were busy for longer than one.
        """
        minutes = min(2.0, max(1.0, busy_s / MINUTE_S))
        longer = (sent / minutes for sent in self._two_minutes.used(now_s))
        requests, tokens = map(max, self.last_minute(now_s), longer)
        return requests, tokens
