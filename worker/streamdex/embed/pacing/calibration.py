"""How many tokens the model's own tokenizer makes of one that we estimated. Pure; one for each model."""

ALPHA = 0.05
LEAST, MOST = 0.2, 5.0  # beyond these the service counts something else than tokens


class Calibration:
    """κ: billed over estimated tokens, as a ratio of two moving averages, so that large requests count for more."""

    def __init__(self) -> None:
        self._estimated = 0.0
        self._billed = 0.0

    @property
    def kappa(self) -> float:
        """The factor for estimates."""
        if not self._estimated:
            return 1.0
        return min(MOST, max(LEAST, self._billed / self._estimated))

    def learn(self, estimated_tokens: float, billed_tokens: float) -> None:
        """A request was estimated at so many tokens, and billed for so many."""
        weight = ALPHA if self._estimated else 1.0
        self._estimated += weight * (estimated_tokens - self._estimated)
        self._billed += weight * (billed_tokens - self._billed)
