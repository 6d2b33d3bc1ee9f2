"""How much one request should carry. Pure; asked at the moment of sending, for what is queued then.

Small requests keep the pacing even. But requests and slots are limited too, so a batch is as large as the scarcer of
them needs, and no larger than the limits, the service and a request's time limit allow.
"""

import math
from dataclasses import dataclass

from streamdex.config import JinaSettings
from streamdex.embed.models import Profile
from streamdex.embed.pacing.rate import MINUTE_S, KeyLimits

UNFILLED = 0.75  # of an input: a batch may stay so far below its bound because no input fits
FREE_SHARE = 0.0025  # of the tokens per minute: so much in one request hardly disturbs the pacing of one replica
LARGEST_SHARE = 0.014  # … and this is the most; a server's bucket may hold no more than 2 s, 3.3 %
CHEAP_INPUTS = 64  # 16 cost 50 µs a document more; 256 gain nothing and take more memory, so only quota calls for them
FIXED_PART = 0.1  # of a request's time may be the part that does not depend on its size
TIME_PART = 1 / 3  # of the time limit: a request may be expected to take so long at most
SPARE_SLOTS = 1.5  # times the rate is what the slots should be able to carry


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


def planned_tokens(limits: KeyLimits, bounds: Bounds, share: float = 1.0, input_tokens: float = 0.0) -> float:
    """Tokens of a batch where there are slots enough."""
    wanted = max(_filling(limits, input_tokens), FREE_SHARE * math.sqrt(share) * limits.tokens_per_minute)
    return min(wanted, LARGEST_SHARE * limits.tokens_per_minute, bounds.tokens)


def next_batch(
    limits: KeyLimits,
    bounds: Bounds,
    share: float,
    tokens_per_minute: float,
    slots: int,
    line: tuple[float, float],
    input_tokens: float,
) -> Batch:
    """The bounds of the next request.

    Our `share` of the limits lets `tokens_per_minute` go through `slots`. A request takes `line[0]` s, and `line[1]` s
    for each token. Texts that wait have `input_tokens` each on average.
    """
    fixed_s, token_s = line
    planned = planned_tokens(limits, bounds, share, input_tokens)
    wanted = max(planned, _through(slots, tokens_per_minute / MINUTE_S, fixed_s, token_s))
    in_time = max(0.0, bounds.seconds - fixed_s) / token_s if token_s else math.inf
    tokens = min(wanted, LARGEST_SHARE * limits.tokens_per_minute, bounds.tokens, in_time)
    filling = min(tokens, _filling(limits, input_tokens))
    inputs = max(CHEAP_INPUTS, math.ceil(filling / input_tokens) if input_tokens else 0)
    return Batch(min(inputs, bounds.inputs), tokens)


def requests_for(limits: KeyLimits, bounds: Bounds, inputs: int, tokens: float) -> int:
    """How many requests so many inputs take, if enough always waits to fill one."""
    if not inputs:
        return 0
    each, rate, slots = tokens / inputs, limits.tokens_per_minute, limits.concurrency
    batch = next_batch(limits, bounds, 1.0, rate, slots, (0.0, 0.0), each)
    return math.ceil(max(tokens / max(batch.tokens, each), inputs / batch.inputs))


def _filling(limits: KeyLimits, input_tokens: float) -> float:
    """Tokens a request needs so that the requests per minute carry all tokens, although no batch is ever quite full."""
    return limits.tokens_per_minute / limits.requests_per_minute + UNFILLED * input_tokens


def _through(slots: int, tokens_per_s: float, fixed_s: float, token_s: float) -> float:
    """Tokens b a request needs so that `slots` of them carry the rate: slots·b / (a + c·b) = rate, with some to spare.

    No more than makes the fixed part a small one of a request's time: beyond, larger requests only take longer.
    """
    spare = slots - token_s * tokens_per_s
    needed = SPARE_SLOTS * fixed_s * tokens_per_s / spare if spare > 0 else math.inf
    return min(needed, fixed_s / (FIXED_PART * token_s) if token_s else math.inf)
