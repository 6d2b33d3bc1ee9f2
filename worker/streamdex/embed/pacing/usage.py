"""What our own requests have shown: how much was sent of late, how it is billed, and how long it takes. Pure."""

from collections import deque

from streamdex.embed.pacing.rate import MINUTE_S

ALPHA = 0.05  # weight of the newest answer in a moving average: about forty answers count
LEAST, MOST = 0.2, 5.0  # billed for each estimated token; beyond, the service counts something else than tokens
NARROW = 0.01  # relative spread of sizes below which a slope would be noise


class _Span:
    """Requests and tokens of the last so many seconds, by the second."""

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
        """So much goes now; negative: it was refused, or was less than expected."""
        self._minute.add(requests, tokens, now_s)
        self._two_minutes.add(requests, tokens, now_s)

    def last_minute(self, now_s: float) -> tuple[float, float]:
        """(requests, tokens) of the last 60 s."""
        return self._minute.used(now_s)

    def sustained(self, now_s: float, busy_s: float) -> tuple[float, float]:
        """(requests, tokens) a minute that the service has taken. For the last `busy_s` seconds we sent all we could.

        A server that counts by calendar minutes takes less in the minute after one that got too much. So when we were
        busy for longer than a minute, the average of two minutes counts too, if it is larger.
        """
        minutes = min(2.0, max(1.0, busy_s / MINUTE_S))
        longer = (sent / minutes for sent in self._two_minutes.used(now_s))
        requests, tokens = map(max, self.last_minute(now_s), longer)
        return requests, tokens


class TokenCalibration:
    """How many tokens the model's own tokenizer makes of one that we estimated; one for each model.

    It is a ratio of two moving averages, so that large requests count for more.
    """

    def __init__(self) -> None:
        self._estimated = 0.0
        self._billed = 0.0

    @property
    def tokens_per_estimate(self) -> float:
        """The factor for estimates."""
        if not self._estimated:
            return 1.0
        return min(MOST, max(LEAST, self._billed / self._estimated))

    def learn(self, estimated_tokens: float, billed_tokens: float) -> None:
        """A request was estimated at so many tokens, and billed for so many."""
        weight = ALPHA if self._estimated else 1.0
        self._estimated += weight * (estimated_tokens - self._estimated)
        self._billed += weight * (billed_tokens - self._billed)


class LatencyModel:
    """Seconds that a request takes as a line over its tokens, a + c·tokens: least squares in which old answers fade."""

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0  # moving averages
        self._spread = self._joint = 0.0  # … of the squares, and of the products, of the deviations

    def learn(self, tokens: float, seconds: float) -> None:
        """A request of so many tokens took so long."""
        if not self._tokens:
            self._tokens, self._seconds = tokens, seconds
            return
        off_tokens, off_seconds = tokens - self._tokens, seconds - self._seconds
        self._tokens += ALPHA * off_tokens
        self._seconds += ALPHA * off_seconds
        self._spread += ALPHA * ((1 - ALPHA) * off_tokens**2 - self._spread)
        self._joint += ALPHA * ((1 - ALPHA) * off_tokens * off_seconds - self._joint)

    @property
    def line(self) -> tuple[float, float]:
        """(a, c): seconds whatever the size, and seconds for each token; (0, 0) before the first answer."""
        if self._spread <= (NARROW * self._tokens) ** 2 or self._joint <= 0:
            return self._seconds, 0.0
        slope = min(self._joint / self._spread, self._seconds / self._tokens)
        return self._seconds - slope * self._tokens, slope
