"""A budget of tokens per day and per run: past it nothing is embedded, and nothing is lost. Pure: time is an argument.

A day is one of UTC. Each process counts for itself and starts at zero when it is restarted. With several replicas,
give each its part: 1,000,000 tokens a day for 4 replicas are a budget of 250,000 each.
"""

DAY_S = 86_400.0


class Budget:
    """What may still be spent; with None for both bounds it never ends."""

    def __init__(self, tokens_per_day: int | None, tokens_per_run: int | None) -> None:
        self._per_day = tokens_per_day
        self._per_run = tokens_per_run
        self._run_tokens = 0
        self._day_tokens = 0
        self._day = -1

    def spend(self, tokens: int, now_s: float) -> None:
        """So many tokens were billed. `now_s` is in seconds since 1970."""
        self._begin_day(now_s)
        self._run_tokens += tokens
        self._day_tokens += tokens

    def reason(self, now_s: float) -> str | None:
        """Why nothing more may be spent now, and what ends that; None when something may."""
        self._begin_day(now_s)
        if self._per_run is not None and self._run_tokens >= self._per_run:
            return f"the run's budget of {self._per_run} tokens is used up; raise jina.tokens_per_run and restart"
        if self._per_day is not None and self._day_tokens >= self._per_day:
            return f"the day's budget of {self._per_day} tokens is used up; it goes on at midnight UTC"
        return None

    def renewed_in_s(self, now_s: float) -> float:
        """Seconds until the next day of UTC begins."""
        return DAY_S - now_s % DAY_S

    def _begin_day(self, now_s: float) -> None:
        day = int(now_s // DAY_S)
        if day != self._day:
            self._day, self._day_tokens = day, 0
