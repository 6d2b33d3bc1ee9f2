"""How much one request should carry. Pure; asked at the moment of sending, for what is queued then.

Small requests keep the pacing even; but a request is scarce too, and so is a slot. So a batch is as large as the
scarcest of them asks, and no larger than the limits, the service and the time limit of a request allow.
"""

import math
from dataclasses import dataclass

from streamdex.config import JinaSettings
from streamdex.embed.models import Profile
from streamdex.embed.pacing.rate import MINUTE_S, Limits

UNFILLED = 0.75  # of an input: so far below its bound a batch may stay, for want of an input that fits
FREE_SHARE = 0.0025  # of the tokens per minute: so much in one request costs the pacing of one replica next to nothing
LARGEST_SHARE = 0.014  # … and so much at most; a server's bucket may hold no more than 2 s, 3.3 %
CHEAP_INPUTS = 64  # 16 cost 50 µs a document more; 256 gain nothing and hold more memory, so only quota asks for them
FIXED_PART = 0.1  # of a request's time may be what it takes whatever its size
TIME_PART = 1 / 3  # of the time limit, at most, is what a request may be expected to take
SPARE_SLOTS = 1.5  # how much more than just enough the slots should carry


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the service takes in one request, and how long it may take."""

    inputs: int
    tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Batch:
    """The bounds of the next request, in inputs and in true tokens."""

    inputs: int
    tokens: float


def bounds_of(settings: JinaSettings, profile: Profile) -> Bounds:
    """What model and settings allow."""
    return Bounds(profile.max_inputs, profile.max_request_tokens or math.inf, TIME_PART * settings.read_timeout_s)


def planned_tokens(limits: Limits, bounds: Bounds, share: float = 1.0, input_tokens: float = 0.0) -> float:
    """The size of a batch when slots are plenty."""
    wanted = max(_filling(limits, input_tokens), FREE_SHARE * math.sqrt(share) * limits.tokens_per_minute)
    return min(wanted, LARGEST_SHARE * limits.tokens_per_minute, bounds.tokens)


def next_batch(
    limits: Limits,
    bounds: Bounds,
    share: float,
    tokens_per_minute: float,
    slots: int,
    line: tuple[float, float],
    input_tokens: float,
) -> Batch:
    """The bounds of the next request.

    `tokens_per_minute`, of our `share` of the limits, may be sent through `slots`; a request takes `line[0]` s +
    `line[1]` s a token; the texts that wait have `input_tokens` each on average.
    """
    fixed_s, token_s = line
    planned = planned_tokens(limits, bounds, share, input_tokens)
    wanted = max(planned, _through(slots, tokens_per_minute / MINUTE_S, fixed_s, token_s))
    in_time = max(0.0, bounds.seconds - fixed_s) / token_s if token_s else math.inf
    tokens = min(wanted, LARGEST_SHARE * limits.tokens_per_minute, bounds.tokens, in_time)
    filling = min(tokens, _filling(limits, input_tokens))
    inputs = max(CHEAP_INPUTS, math.ceil(filling / input_tokens) if input_tokens else 0)
    return Batch(min(inputs, bounds.inputs), tokens)


def requests_for(limits: Limits, bounds: Bounds, inputs: int, tokens: float) -> int:
    """How many requests so many inputs take, if there is always enough to fill one."""
    if not inputs:
        return 0
    each, rate, slots = tokens / inputs, limits.tokens_per_minute, limits.concurrency
    batch = next_batch(limits, bounds, 1.0, rate, slots, (0.0, 0.0), each)
    return math.ceil(max(tokens / max(batch.tokens, each), inputs / batch.inputs))


def _filling(limits: Limits, input_tokens: float) -> float:
    """So that the requests are enough for all the tokens, although no batch is ever quite full."""
    return limits.tokens_per_minute / limits.requests_per_minute + UNFILLED * input_tokens


def _through(slots: int, tokens_per_s: float, fixed_s: float, token_s: float) -> float:
    """Tokens a request needs for `slots` of them to carry the rate: slots·b / (a + c·b) = rate, with some to spare.

    No more than makes the fixed part small: beyond, larger requests only take longer.
    """
    room = slots - token_s * tokens_per_s
    needed = SPARE_SLOTS * fixed_s * tokens_per_s / room if room > 0 else math.inf
    return min(needed, fixed_s / (FIXED_PART * token_s) if token_s else math.inf)
