"""How many requests may be under way at once: as many as do not slow each other down, up to the key's limit. Pure.

Each answer is compared with what requests of its size took before; every half-octave of tokens has its own baseline.
(Rejected: one line over all sizes. It stuck at the floor when batches suddenly grew.) A round is a handful of answers:

- Clearly slower than the baseline: fewer at once. If that does not help, we were not the cause: the service has become
  slower for everybody, the slower times are the new baseline, and the cut is undone.
- About as fast, and the limit was reached: more at once; quickly until the first cut that helped.
- In between, and the limit was reached: every 30 s half as many for 2 s show what the baseline is today.

The limit never grows while it is not reached. A 429 for too many at once sets a cap that rises by one in 30 s.
Similar: Vector's adaptive concurrency and Netflix's gradient. Both compare all answers alike, and have no quota beside.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto
from statistics import median

START = 8
FLOOR = 2
SLOW, FAST = 1.7, 1.35  # bounds for the median of latency over baseline
ROUND_ANSWERS = 5
ROUND_S = 0.5
DEEPEST_CUT, SLIGHTEST_CUT = 0.7, 0.85
FEWER = 0.9  # of the requests under way before a cut: only below this does its effect show
FIRST_GROWTH, GROWTH = 2.0, 1.1
PROBE_EVERY_S, PROBE_S = 30.0, 2.0
FALL, RISE = 0.3, 0.05  # how far a round moves a baseline: chance must not pull it down, nor a slow queue lift it
MUCH_FASTER = 0.6
UNDER_REFUSED = 0.95
CAP_RISES_S = 30.0


class _Probing(Enum):
    STEADY = auto()
    CUT = auto()  # fewer at once: does it help?
    PROBE = auto()  # half as many, for the baseline


@dataclass(frozen=True, slots=True)
class _Measured:
    size: int
    latency_s: float
    under_way: int  # when it was sent, with it


@dataclass(frozen=True, slots=True)
class _Before:
    """The state before a cut. A service that queues becomes faster by the same factor as requests become fewer."""

    limit: float
    ratio: float
    under_way: float


class Concurrency:
    """The number of requests that may be under way. Times are seconds of the caller's clock."""

    def __init__(self, most: int) -> None:
        """`most`: what the key allows us."""
        self._most = most
        self._limit = float(min(START, most))
        self._phase = _Probing.STEADY
        self._phase_at_s = -math.inf
        self._before: _Before | None = None  # a cut whose effect is not known yet
        self._probed_at_s = -math.inf
        self._growth = FIRST_GROWTH
        self._reached = False
        self._baselines: dict[int, float] = {}
        self._round: list[_Measured] = []
        self._round_at_s = -math.inf
        self._cap = math.inf
        self._cap_at_s = 0.0

    def limit(self, now_s: float) -> int:
        """How many may be under way at this time, at least one."""
        limit = self._limit
        if self._phase is _Probing.PROBE:
            limit /= 2
        return max(1, int(min(max(limit, self._floor), self._most, self._cap_now(now_s))))

    @property
    def _floor(self) -> int:
        return min(FLOOR, self._most)

    def set_most(self, most: int) -> None:
        """The key allows us another number, from now on."""
        self._most = most
        self._limit = min(max(self._limit, self._floor), most)

    def reached(self) -> None:
        """A request waits for another to end."""
        self._reached = True

    def refused(self, in_flight: int, now_s: float) -> None:
        """The service refused a request for too many at once; so many were under way, with it."""
        self._cap = max(1.0, float(int(min(self._cap_now(now_s), UNDER_REFUSED * (in_flight - 1)))))
        self._cap_at_s = now_s

    def answered(self, tokens: float, latency_s: float, under_way: int, now_s: float) -> None:
        """A request of so many tokens has just ended and took `latency_s`, which includes no wait before it was sent.

        `under_way`: requests, with this one, when it was sent.
        """
        if self._phase is not _Probing.STEADY and now_s - latency_s < self._phase_at_s:
            return  # sent before the change whose effect is to be seen
        if not self._round:
            self._round_at_s = now_s
        self._round.append(_Measured(_size(tokens), latency_s, under_way))
        enough = ROUND_ANSWERS if self._phase is _Probing.CUT else max(ROUND_ANSWERS, int(self._limit))
        lasted_s = now_s - (self._phase_at_s if self._phase is _Probing.PROBE else self._round_at_s)
        least_s = PROBE_S if self._phase is _Probing.PROBE else ROUND_S
        if lasted_s >= least_s and (len(self._round) >= enough or self._phase is _Probing.PROBE):
            self._end_round(now_s)

    def _end_round(self, now_s: float) -> None:
        samples, self._round = self._round, []
        reached, self._reached = self._reached, False
        ratio = self._compare(samples)
        under_way = median(sample.under_way for sample in samples)
        if self._phase is _Probing.CUT and self._before is not None:
            self._end_cut(self._before, ratio, under_way, now_s)
        elif self._phase is _Probing.PROBE:
            self._phase = _Probing.STEADY
            self._rebase(ratio)
        elif ratio > SLOW:
            self._before = _Before(self._limit, ratio, under_way)
            self._cut(ratio, now_s)
        elif not reached:
            return
        elif ratio < FAST:
            self._limit = min(self._most, max(self._limit + 1, self._limit * self._growth))
        elif now_s - self._probed_at_s >= PROBE_EVERY_S:
            self._probed_at_s = now_s
            self._enter(_Probing.PROBE, now_s)

    def _cut(self, ratio: float, now_s: float) -> None:
        factor = min(SLIGHTEST_CUT, max(DEEPEST_CUT, FAST / ratio))
        self._limit = max(self._floor, self._limit * factor)
        self._enter(_Probing.CUT, now_s)

    def _end_cut(self, before: _Before, ratio: float, under_way: float, now_s: float) -> None:
        """The cut has helped if answers became faster by at least half of what a queue of ours explains.

        With half as many under way, such a queue would make the ratio half as large; three quarters is the bound.
        """
        fewer = under_way / before.under_way
        if fewer > FEWER and ratio > SLOW and self._limit > self._floor:
            self._cut(ratio, now_s)  # the limit is still above what is under way
            return
        self._phase, self._before = _Probing.STEADY, None
        if ratio > before.ratio * (1 + fewer) / 2:
            self._limit = min(before.limit, self._most)
            self._growth = FIRST_GROWTH
            self._rebase(ratio)
            return
        self._growth = GROWTH
        if ratio > SLOW:
            self._before = _Before(self._limit, ratio, under_way)
            self._cut(ratio, now_s)

    def _enter(self, phase: _Probing, now_s: float) -> None:
        self._phase = phase
        self._phase_at_s = now_s

    def _compare(self, samples: list[_Measured]) -> float:
        """The median ratio to the baselines, which move a little with it. A size that is new counts as 1."""
        by_size: dict[int, list[float]] = {}
        for sample in samples:
            by_size.setdefault(sample.size, []).append(sample.latency_s)
        ratios: list[float] = []
        for size, latencies in by_size.items():
            middle = median(latencies)
            baseline = self._baselines.setdefault(size, middle)
            ratios += [latency / baseline for latency in latencies]
            self._baselines[size] = _moved(baseline, middle, len(latencies))
        return median(ratios)

    def _rebase(self, ratio: float) -> None:
        """The service has another speed now, for every size."""
        for size in self._baselines:
            self._baselines[size] *= ratio

    def _cap_now(self, now_s: float) -> float:
        if self._cap < self._most:
            risen = (now_s - self._cap_at_s) // CAP_RISES_S
            self._cap += risen
            self._cap_at_s += risen * CAP_RISES_S
        return self._cap


def _moved(baseline: float, middle: float, count: int) -> float:
    ratio = middle / baseline
    if ratio < MUCH_FASTER:
        return middle
    weight = (FALL if ratio < 1 else RISE if ratio < FAST else 0.0) * min(1.0, count / ROUND_ANSWERS)
    return baseline + weight * (middle - baseline)


def _size(tokens: float) -> int:
    """Half-octaves: requests of one size differ by less than √2 in tokens."""
    return round(2 * math.log2(max(1.0, tokens)))
