"""How long a request takes by its size: a + c·tokens, by least squares in which old answers fade. Pure."""

ALPHA = 0.05  # weight of the newest answer: about forty count
NARROW = 0.01  # relative spread of sizes below which a slope would be noise


class LatencyModel:
    """Seconds of a request as a line over its tokens."""

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
