"""Which limit a 429 speaks of: by its code where there is one, by our own behaviour where there is none. Pure."""

from enum import StrEnum


class Throttle(StrEnum):
    """The limit that refused a request; a label of the metric."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    RATE = "rate"  # one of the two, unknown which
    CONCURRENCY = "concurrency"
    IP = "ip"


_CODES = {
    "RATE_REQUEST_LIMIT_EXCEEDED": Throttle.REQUESTS,
    "RATE_TOKEN_LIMIT_EXCEEDED": Throttle.TOKENS,
    "RATE_CONCURRENCY_LIMIT_EXCEEDED": Throttle.CONCURRENCY,
    "RATE_IP_LIMIT_EXCEEDED": Throttle.IP,
}
LOW_USE = 0.7  # of our share in the last minute: too little for the rate to be what was exceeded
CROWDED = 0.8  # of the requests that we may have under way


def throttle_of(code: str | None, used: float, in_flight: int, slots: int) -> Throttle:
    """The limit behind a 429. `used`: part of our share that went in the last 60 s, of the fuller limit.

    Without a code: many requests under way while the rate is low can only be too many at once. When in doubt it is the
    rate, since that stops everything for a moment and so mends either.
    """
    known = _CODES.get(code or "")
    if known is not None:
        return known
    return Throttle.CONCURRENCY if used < LOW_USE and in_flight >= CROWDED * slots else Throttle.RATE
