"""I7: tokens are paid once, but for what was in flight at each kill, lost answer and cut drain. Pure.

A text must be paid for when it is *born*: when an event's text has it (or has it once more) and the text of the
document's event before has not. Deleting and creating anew, and A, B, A, bear again. Workers may skip events that
newer ones overtake; a text is born no more often in a part of a history than in the whole of it, so the births of the
whole are a bound. An event that ends as a dead letter bears all its texts: it may have been planned against any earlier
state, since those before it wait inside it until it is condemned.

What is paid beyond the births is accepted for one cause only: that a *payment* of the same text was wasted, and how.
Each wasted payment pays for one repetition, no more, so what is accepted is exactly what was in flight. The causes, in
the order in which they are tried:

1. `wrong answer`: the stand-in was told to spoil the answer to this request, or to break it off (the bill says so).
2. `killed`: the worker was killed, and the text's event was not committed by then.
3. `drain cut`: the worker had sent the request when it had to let the partition go, or end, before it was through (it
   says so in its log, or by its exit code), and the event was not committed by then.
4. `lost tenure`: another worker was given the partition while this one still had it (a session that expired: no drain
   is possible), and the event was not committed by then, or the payment came later still: a zombie's.
5. `lost answer`: the worker never got this answer (it notes all it gets), and its own link to Jina was broken, or it
   stood still, while this was in flight or within LOST_WITHIN_S of its bill. An answer that a worker did not wait for
   is no excuse.

No allowance is made by the minute, per rebalance or in per cent. Not judged: payments of what is no worker (`verify
--repair`), counted apart; and the one-word probes, whose text is known.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.checker.events import Place, Ranked, digest, text_counts
from chaos.checker.evidence import Line, Payment
from chaos.checker.report import Report
from chaos.checker.settled import Passed
from chaos.checker.tenure import End, Tenures

PROBE = digest("word")
LOST_WITHIN_S = 1.5  # a bill is written when the answer is sent; a piece on a delayed link takes at most so long
NOTED_S = 1.0  # a worker may note an answer before the stand-in, busy with others, has written the bill
# Told to the stand-in: what makes an answer useless. A slow one, and one in another order, are of use.
SPOILING = frozenset(
    {
        "truncated-json",
        "wrong-count",
        "duplicate-index",
        "missing-index",
        "index-out-of-range",
        "wrong-dimension",
        "nan",
        "inf",
        "zero",
        "cut",
    }
)


@dataclass(slots=True)
class Births:
    """How often each text is born, and by which events, as places in the log."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))

    def add(self, texts: Mapping[str, int], place: Place) -> None:
        """The event at this place bears these texts, each so often."""
        for text, count in texts.items():
            if count > 0:
                self.counts[text] += count
                self.places[text].append(place)


def births_of(histories: Iterable[Sequence[Ranked]], unindexable: Iterable[Ranked]) -> Births:
    """The births of all documents; `unindexable` are the events that end as dead letters."""
    births = Births()
    for history in histories:
        before: Counter[str] = Counter()
        for _, record, event in history:
            now = text_counts(event)
            births.add(now - before, record.place)
            before = now
    for _, record, event in unindexable:
        births.add(text_counts(event), record.place)
    return births


@dataclass(frozen=True, slots=True)
class Interval:
    """A worker could not be reached from the stand-in for Jina, from then to then."""

    worker: str
    start: float
    end: float = math.inf

    def touches(self, payment: Payment) -> bool:
        """Whether an answer to this payment may have been lost by it."""
        # Not by the bill alone: an answer that drips is billed when its end is given up, seconds after it broke.
        return self.worker == payment.worker and self.start <= payment.at + LOST_WITHIN_S and payment.sent <= self.end


def troubles(events: Iterable[Line]) -> list[Interval]:
    """When an answer could get lost between the stand-in and which worker, by the conductor's events.

    `links_broken` and `links_mended` name a link and slots, `worker_frozen` and `worker_thawed` a worker.
    """
    found: list[Interval] = []
    slots: dict[str, int] = {}
    broken: dict[int, float] = {}
    frozen: dict[str, float] = {}
    for event in events:
        kind, at = event["kind"], event["at"]
        if kind == "worker_started":
            slots[event["worker"]] = event["slot"]
        elif kind == "links_broken" and event["link"] == "jina":
            broken |= dict.fromkeys(event["slots"], at)
        elif kind == "links_mended" and event["link"] == "jina":
            starts = {slot: broken.pop(slot) for slot in event["slots"] if slot in broken}
            found += [Interval(worker, starts[slot], at) for worker, slot in slots.items() if slot in starts]
        elif kind == "worker_frozen":
            frozen[event["worker"]] = at
        elif kind == "worker_thawed" and event["worker"] in frozen:
            found.append(Interval(event["worker"], frozen.pop(event["worker"]), at))
    found += [Interval(worker, at) for worker, at in frozen.items()]
    return found + [Interval(worker, broken[slot]) for worker, slot in slots.items() if slot in broken]


class Bill:
    """Judges the payments of the workers, text by text."""

    def __init__(self, births: Births, passed: Passed, tenures: Tenures, intervals: Sequence[Interval]) -> None:
        self._births = births
        self._passed = passed
        self._tenures = tenures
        self._intervals = intervals
        self._deaths = {death.worker: death for death in tenures.deaths}

    def cause(self, payment: Payment, *, received: bool) -> str | None:
        """Why a payment was wasted, if it can have been."""
        if payment.fault in SPOILING:
            return "wrong answer"
        death = self._deaths.get(payment.worker)
        if death is not None and self._open(payment.text, death.at):
            return str(death.how)
        # The dead send nothing: what a slow link brings later was sent before.
        sent = payment.sent if death is None else min(payment.sent, death.at)
        for place in self._births.places[payment.text]:
            for tenure in self._tenures.of(payment.worker, place[0]):
                if not tenure.covers(sent):
                    continue
                if tenure.how is End.CUT and self._open(payment.text, tenure.end):
                    return str(End.CUT)
                if tenure.lost_at is not None and (
                    payment.at >= tenure.lost_at or self._open(payment.text, tenure.lost_at)
                ):
                    return "lost tenure"
        if not received and any(interval.touches(payment) for interval in self._intervals):
            return "lost answer"
        return None

    def places(self, text: str) -> list[Place]:
        """The events that bear a text."""
        return self._births.places[text]

    def _open(self, text: str, at: float) -> bool:
        """Whether an event that bears this text was not committed at this time."""
        times = (self._passed.at(place) for place in self._births.places[text])
        return any(time is None or time >= at for time in times)


def received_of(payments: Sequence[Payment], answers: Iterable[Line]) -> dict[int, float]:
    """Which payments were answered, as the workers noted: their numbers in the list, and when they were sent.

    An answer belongs to the last payment before it of the same text by the same worker, among those whose answer the
    stand-in did not spoil.
    """
    of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, payment in sorted(enumerate(payments), key=lambda each: each[1].at):
        if payment.fault not in SPOILING:
            of[payment.worker, payment.text].append(number)
    received: dict[int, float] = {}
    for answer in sorted(answers, key=lambda line: float(line["at"])):
        for text in answer["inputs"]:
            earlier = (
                each
                for each in reversed(of.get((answer["worker"], text), ()))
                if each not in received and payments[each].at <= answer["at"] + NOTED_S
            )
            received.update((each, answer.get("sent", math.inf)) for each in itertools.islice(earlier, 1))
    return received


def check_bill(
    payments: Sequence[Payment], answers: Iterable[Line], workers: Iterable[str], births: Births, bill: Bill
) -> Report:
    """I7. `workers`: the names of all workers; what others pay is counted alone."""
    report = Report()
    known = set(workers)
    received = received_of(payments, answers)
    # A link that is slow brings a request to the stand-in when the worker may have lost the partition.
    payments = [each._replace(began=min(each.began, received.get(at, math.inf))) for at, each in enumerate(payments)]
    by_text: dict[str, list[int]] = defaultdict(list)
    tokens: Counter[str] = Counter()
    for number, payment in enumerate(payments):
        if payment.worker not in known:
            tokens["by others"] += payment.tokens
        elif payment.text == PROBE:
            tokens["probes"] += payment.tokens
        else:
            tokens["billed"] += payment.tokens
            by_text[payment.text].append(number)
    for text, numbers in by_text.items():
        paid = [(payments[number], number in received) for number in sorted(numbers, key=lambda n: payments[n].at)]
        _check_text(text, paid, births.counts[text], bill, report, tokens)
    causes = {name.removeprefix("again: "): count for name, count in tokens.items() if name.startswith("again: ")}
    report.figures = {
        "tokens billed": tokens["billed"],
        "tokens born and billed": tokens["born"],
        "tokens billed again, by cause": causes,
        "tokens of probes": tokens["probes"],
        "tokens billed to others": tokens["by others"],
        "births": births.counts.total(),
        "texts": len(by_text),
    }
    return report


def _check_text(
    text: str, paid: Sequence[tuple[Payment, bool]], born: int, bill: Bill, report: Report, tokens: Counter[str]
) -> None:
    """One text: what is paid beyond its births needs as many payments that were wasted."""
    cost = paid[0][0].tokens
    tokens["born"] += cost * min(born, len(paid))
    excess = len(paid) - born
    if excess <= 0:
        return
    if not born:
        report.violate("I7", "a text was paid for that no event bears", text=text, times=len(paid))
        return
    causes = [cause for payment, received in paid if (cause := bill.cause(payment, received=received))]
    for cause in causes[:excess]:
        tokens[f"again: {cause}"] += cost
    if len(causes) < excess:
        told = [(payment.worker, round(payment.at, 3), received) for payment, received in paid]
        unexplained = excess - len(causes)
        tokens["again: none"] += cost * unexplained
        report.violate(
            "I7",
            "a text was paid for again without a cause",
            text=text,
            born=born,
            unexplained=unexplained,
            tokens=cost * unexplained,
            events=bill.places(text),
            paid=told,
        )
