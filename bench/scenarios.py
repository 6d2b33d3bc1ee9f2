"""The scenarios: what is fed, what is counted, and in which order.

Worker and script take turns within a scenario, slice by slice, so that whatever disturbs the machine disturbs both.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench import subjects
from bench.documents import PARAGRAPHS, Message, deletes, long_documents, short_documents
from bench.measure import Meter, Sample, Slice, typical
from bench.neighbours import Neighbours
from bench.stages import Profile, read_samples

NEW, REDELIVERED, DELETED, UPDATED = "new", "redelivered", "deleted", "updated"
WORKER, SCRIPT, SCRIPT_LONG = "streamdex", "script, 8 digits", "script, 17 digits"
SCRIPTS = (SCRIPT, SCRIPT_LONG)  # by how the numbers of its vectors come: servers differ in that
MORE_WARM_UP = 2_000
LONG_SHARE = 10  # for so many documents of one chunk there is one of 40
MOST_LONG = 500  # in a slice: they are 63 KB each

Tell = Callable[[str, int, int], object]  # what is measured, how many are done, of how many
Counts = Counter[str]


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    `open_records` is the worker's bound per partition. `core` is the one that the process measured has to itself.
    """

    documents: int = 10_000
    rounds: int = 5
    partitions: int = 4
    open_records: int = 4_096
    script: bool = True
    profile: bool = False
    core: int | None = None

    @property
    def per_round(self) -> int:
        """Documents in a slice."""
        return max(1, self.documents // self.rounds)

    @property
    def warm_up(self) -> int:
        """Documents before the first slice.

        The first records of an assignment may have been seen by a former owner, so each costs a purge more.
        """
        return self.partitions * self.open_records + min(MORE_WARM_UP, self.per_round)

    @property
    def starts(self) -> range:
        """The number of each slice's first document."""
        return range(self.warm_up, self.warm_up + self.per_round * self.rounds, self.per_round)

    @property
    def long_documents(self) -> int:
        """Documents of 40 chunks in a slice."""
        return min(MOST_LONG, max(1, self.per_round // LONG_SHARE))


@dataclass(slots=True)
class Figures:
    """One scenario of one subject. `requests` to Qdrant by method; `inputs` embedded."""

    scenario: str
    subject: str
    slices: list[Slice] = field(default_factory=list)
    requests: Counts = field(default_factory=Counter)
    inputs: int = 0

    @property
    def documents(self) -> int:
        """Documents in all slices."""
        return sum(each.documents for each in self.slices)

    @property
    def cpu_us(self) -> float:
        """CPU µs per document: the median of the slices."""
        return typical(self.slices, lambda each: each.cpu_us)

    @property
    def least_cpu_us(self) -> float:
        """CPU µs per document in the slice that was disturbed least: what others do on the machine can only add."""
        return min(each.cpu_us for each in self.slices)

    @property
    def rate(self) -> float:
        """Documents per second: the median of the slices."""
        return typical(self.slices, lambda each: each.rate)

    @property
    def batches(self) -> int:
        """Batches that a writer wrote; where nothing is written, those that were planned."""
        return self.requests["Upsert manifests"] or self.requests["Get manifests"] or self.requests["PUT points"]

    @property
    def requests_per_batch(self) -> float:
        """Requests to Qdrant for one batch. Progress is stored by the clock, not by batch, and left out."""
        return (self.requests.total() - self.requests["Upsert progress"]) / self.batches


class Ratio(NamedTuple):
    """A subject's CPU as a multiple of the worker's, by the medians and by the slices that were disturbed least."""

    subject: str
    typical: float
    least: float


@dataclass(slots=True)
class Results:
    """Everything measured."""

    figures: list[Figures] = field(default_factory=list)
    profile: Profile | None = None
    core: int | None = None

    def of(self, scenario: str, subject: str) -> Figures | None:
        """One scenario's figures, where it was measured."""
        return next((each for each in self.figures if (each.scenario, each.subject) == (scenario, subject)), None)

    @property
    def ratios(self) -> list[Ratio]:
        """How many times more CPU than the worker each script takes for a new document."""
        ours, scripts = self.of(NEW, WORKER), [self.of(NEW, subject) for subject in SCRIPTS]
        return [
            Ratio(theirs.subject, theirs.cpu_us / ours.cpu_us, theirs.least_cpu_us / ours.least_cpu_us)
            for theirs in scripts
            if ours and theirs
        ]


def run(place: Neighbours, options: Options, directory: Path, tell: Tell) -> Results:
    """All scenarios, one after the other. Raises StalledError when a process ends or does nothing any more."""
    results = Results(core=options.core)
    _short_documents(place, options, results, tell)
    _long_documents(place, options, results, tell)
    if options.profile:
        ours = results.of(NEW, WORKER)
        assert ours is not None
        results.profile = read_samples(_sample(place, options, directory, tell), ours.cpu_us)
    return results


def _short_documents(place: Neighbours, options: Options, results: Results, tell: Tell) -> None:
    """New documents of one chunk; the same once more after the group forgot its offsets; their deletes."""
    with _contestants(place, options, "short", tell, SCRIPTS, points=1) as runners:
        figures = [Figures(NEW, runner.subject) for runner in runners]
        results.figures += figures
        for runner in runners:
            warm_up = options.warm_up if runner.subject == WORKER else options.per_round
            runner.warm_up(short_documents(0, warm_up), warm_up)
        for start in options.starts:
            for runner, its in zip(runners, figures, strict=True):
                runner.measure(its, short_documents(start, options.per_round), options.per_round)
    topic = runners[0].topic
    place.kafka.rewind(topic, topic, options.partitions)
    results.figures += _again(place, options, topic, tell)


def _again(place: Neighbours, options: Options, topic: str, tell: Tell) -> list[Figures]:
    """The worker alone on a topic whose documents it knows: the script has no such memory, and does all of it again."""
    redelivered, deleted = Figures(REDELIVERED, WORKER), Figures(DELETED, WORKER)
    with _Runner.of_worker(place, topic, options, tell, _known) as runner:
        runner.watch(Figures("warm-up", WORKER), options.warm_up)
        for _ in options.starts:
            runner.watch(redelivered, options.per_round)
        runner.count_by(_written)
        for start in options.starts:
            runner.measure(deleted, deletes(start, options.per_round), options.per_round)
    return [redelivered, deleted]


def _long_documents(place: Neighbours, options: Options, results: Results, tell: Tell) -> None:
    """Documents of 40 chunks, of which one is changed."""
    count = options.long_documents
    with _contestants(place, options, "long", tell, (SCRIPT,), points=PARAGRAPHS) as runners:
        figures = [Figures(UPDATED, runner.subject) for runner in runners]
        results.figures += figures
        for runner in runners:
            runner.warm_up(long_documents(0, count), count)
        for revision in range(1, options.rounds + 1):
            for runner, its in zip(runners, figures, strict=True):
                runner.measure(its, long_documents(0, count, revision), count)


def _sample(place: Neighbours, options: Options, directory: Path, tell: Tell) -> bytes:
    """New documents of one chunk, under the sampler."""
    topic = place.kafka.create("sampled", options.partitions)
    with subjects.sampled_worker(place, topic, options.open_records, options.core, directory) as sampled:
        runner = _Runner(place, WORKER, topic, sampled.process, _written, tell)
        runner.warm_up(short_documents(0, options.warm_up), options.warm_up)
        sampled.begin()
        for start in options.starts:
            runner.measure(Figures("sampled", WORKER), short_documents(start, options.per_round), options.per_round)
        return sampled.end()


Stats = dict[str, Any]


def _written(stats: Stats) -> int:
    return int(stats["manifests_written"])


def _known(stats: Stats) -> int:
    return int(stats["manifests_found"])


class _Runner:
    """One subject in its process, fed from a topic of its own. `done` counts its documents in the stats of Qdrant."""

    _last: Sample
    _target: int

    def __init__(
        self,
        place: Neighbours,
        subject: str,
        topic: str,
        process: psutil.Process,
        done: Callable[[Stats], int],
        tell: Tell,
    ) -> None:
        self.subject = subject
        self._last_inputs = 0
        self._last_requests: Counts = Counter()
        self._place = place
        self.topic = topic
        self._process = process
        self._tell = tell
        self.count_by(done)

    @classmethod
    @contextmanager
    def of_worker(
        cls, place: Neighbours, topic: str, options: Options, tell: Tell, done: Callable[[Stats], int] = _written
    ) -> Iterator["_Runner"]:
        """A worker on a topic."""
        with subjects.worker(place, topic, options.open_records, options.core) as process:
            yield cls(place, WORKER, topic, process, done, tell)

    def count_by(self, done: Callable[[Stats], int]) -> None:
        """Count documents in another way from now on."""
        self._meter = Meter(self._process, lambda: done(self._place.qdrant.stats()))
        self._begin()

    def warm_up(self, messages: Iterable[Message], documents: int) -> None:
        """Have documents done that are not measured."""
        self.measure(Figures("warm-up", self.subject), messages, documents)

    def measure(self, figures: Figures, messages: Iterable[Message], documents: int) -> None:
        """Feed so many documents and add the slice of having them done."""
        self._begin()
        self._place.kafka.feed(self.topic, messages)
        self.watch(figures, documents)

    def watch(self, figures: Figures, documents: int) -> None:
        """Add the slice from where the last one ended until so many more are done.

        A sample may come late by a batch: slices hold what they hold, but the next one's end does not move.
        """
        self._target += documents
        first, title = self._last.documents, f"{figures.scenario}: {figures.subject}"
        now = self._meter.wait_for(self._target, lambda done: self._tell(title, done - first, documents))
        inputs, requests = self._inputs(), self._requests()
        figures.slices.append(Slice.between(self._last, now))
        figures.inputs += inputs - self._last_inputs
        figures.requests += requests - self._last_requests
        self._last, self._last_inputs, self._last_requests = now, inputs, requests

    def _begin(self) -> None:
        """From here on all counts."""
        self._last, self._last_inputs, self._last_requests = self._meter.sample(), self._inputs(), self._requests()
        self._target = self._last.documents

    def _inputs(self) -> int:
        return int(self._place.jina.stats()["inputs"])

    def _requests(self) -> Counts:
        """The worker speaks gRPC and the scripts REST; the other one, idle meanwhile, is left out."""
        over_rest = self.subject != WORKER
        found = self._place.qdrant.stats()["requests"].items()
        return Counter({method: count for method, count in found if method.startswith("PUT") == over_rest})


@contextmanager
def _contestants(
    place: Neighbours, options: Options, stem: str, tell: Tell, scripts: Sequence[str], points: int
) -> Iterator[Sequence[_Runner]]:
    """The worker, and the scripts when they are wanted, each on a topic; `points` is what a script makes of one."""
    with ExitStack() as stack:
        topic = place.kafka.create(stem, options.partitions)
        runners = [stack.enter_context(_Runner.of_worker(place, topic, options, tell))]
        for number, subject in enumerate(scripts if options.script else ()):
            topic = place.kafka.create(f"{stem}-script-{number}", options.partitions)
            process = stack.enter_context(
                subjects.script(place, topic, options.core, long_floats=subject == SCRIPT_LONG)
            )
            runners.append(
                _Runner(place, subject, topic, process, lambda stats: int(stats["points_put"]) // points, tell)
            )
        yield runners
