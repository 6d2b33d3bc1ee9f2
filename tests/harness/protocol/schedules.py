"""Random schedules of two workers: delays, repeats, crashes, lost answers, zombies, a new deployment on the way.

A schedule is a seed. Its dice choose the events, then one atomic step after the other, until all has healed: nothing
goes wrong any more, and everything that waits comes to its end, in random order.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from harness.protocol.deployments import PARTITIONS, REFUSED
from harness.protocol.worker import Asked, Worker
from harness.protocol.world import Late, World, world
from oracle.protocol_fold import LONG_LETTERS, differences, event_of, is_dead_letter, text_of
from streamdex.embed import EmbedJob
from streamdex.model import Order, Partition
from streamdex.standins.qdrant import Engine

LETTERS = LONG_LETTERS + "def"
MOST_STEPS = 4_000  # until a schedule is said to run for ever

HABITS = {
    "lose": (0.0, 0.0, 0.05, 0.2),  # of requests, the others of steps: see `_choices`
    "land": (0.02, 0.3),
    "pass time": (0.01, 0.05, 0.3),
    "commit": (0.05, 0.5),
    "move": (0.02, 0.1),
    "leave": (0.0, 0.05),
    "hear": (0.02, 0.3),
    "kill": (0.0, 0.05, 0.15),
    "deploy": (0.0, 0.1),
}

Choice = tuple[float, Callable[[], object]]  # how likely a step is, beside the others, and the step


@dataclass
class Result:
    """How a schedule ended: what differs from the fold, and what it went through."""

    differences: list[str]
    steps: int
    story: list[str] = field(repr=False)


class Schedule:
    """One schedule.

    `kill_zombies` lets in what is known not to heal by itself. A partition never goes back to an older deployment after
    a newer one: what that leaves when the newer one has died in the middle of an event does not heal by itself either.
    """

    def __init__(self, seed: int, world: World, *, kill_zombies: bool = False) -> None:
        self.rng = random.Random(seed)
        self.world = world
        self.kill_zombies = kill_zombies
        # Each schedule has habits of its own: what is rare in one is common in another.
        self.likely = {habit: self.rng.choice(weights) for habit, weights in HABITS.items()}
        self.speed = {name: self.rng.choice((0.03, 0.3, 1.0)) for name in "ABC"}
        self.trouble_steps = self.rng.randint(20, 160)
        self.newest = dict.fromkeys(PARTITIONS, 0)
        self.deployed = False
        self.healing = False
        self.steps = 0
        self.story: list[str] = []

    def run(self) -> Result:
        """All steps, from two workers that own nothing to the end."""
        self._produce()
        for name in "AB":
            self._start(name)
        while self.steps < self.trouble_steps and self._step():
            pass
        self.healing = True
        self.likely["pass time"] = 0.02  # or a slow worker's requests would run out of time for ever
        self.speed = dict.fromkeys(self.speed, 1.0)
        self._say("healing")
        while self._step():
            assert self.steps < MOST_STEPS, "no end:\n" + "\n".join(self.story[-50:])
        return Result([*differences(self.world), *self._unsettled(), *self._wrong_letters()], self.steps, self.story)

    # --- the events -------------------------------------------------------------------------------------------------

    def _produce(self) -> None:
        """A few events of a few documents, which have one partition each, or with versions of their own several."""
        names = "xyz"[: self.rng.choice((1, 1, 2, 3))]
        homes = {name: self.rng.choice(PARTITIONS) for name in names}
        dead_letters = dict.fromkeys(names, "")
        crossing = self.world.order is Order.VERSION or self.rng.random() < 0.25
        before: dict[str, dict[str, Any]] = {}
        for _ in range(self.rng.randint(2, 8)):
            name = self.rng.choice(names)
            edited = self._edit(dead_letters[name])
            event = self._event(name, edited, before.get(name))
            if event.get("text") == text_of(edited):
                dead_letters[name] = edited
            before[name] = event
            self.world.produce(self.rng.choice(PARTITIONS) if crossing else homes[name], event)

    def _event(self, name: str, dead_letters: str, before: dict[str, Any] | None) -> dict[str, Any]:
        rng = self.rng.random()
        m, version = self.rng.randint(0, 2), self.rng.randint(1, 3)
        event = event_of(name, dead_letters, m, version)
        if rng < 0.15:
            event = event_of(name, None, version=version)
        elif rng < 0.4 and before:
            event = before | {"version": version}  # the same content again
        elif rng < 0.45 and dead_letters:
            event["metadata"]["why"] = REFUSED
        elif rng < 0.5:
            event["text"] = text_of(dead_letters + self.rng.choice("UT"))
        elif rng < 0.53:
            event["version"] = None
        return event

    def _edit(self, dead_letters: str) -> str:
        """Keep, move, repeat, drop and add paragraphs."""
        now = list(dead_letters)
        for _ in range(self.rng.randint(0 if now else 1, 3)):
            kind = self.rng.randrange(4)
            if kind == 0 and now:
                now.pop(self.rng.randrange(len(now)))
            elif kind == 1 and now:
                now.append(self.rng.choice(now))
            elif kind == 2:
                self.rng.shuffle(now)
            else:
                now.insert(self.rng.randint(0, len(now)), self.rng.choice(LETTERS))
        return "".join(now[:6])

    # --- which step is next -----------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Make one step; False when there is none left."""
        choices = [choice for choice in self._choices() if choice[0]]
        if not choices:
            return False
        weights = [weight for weight, _ in choices]
        self.rng.choices(choices, weights)[0][1]()
        self.steps += 1
        return True

    def _choices(self) -> Iterator[Choice]:
        for worker in self.world.workers:
            yield from self._of_worker(worker)
            yield from self._of_group(worker)
        for partition in PARTITIONS:
            if self.world.owner[partition] is None:
                yield 1.0, partial(self._assign, partition)
        for late in self.world.late:
            yield self.likely["land"], partial(self._land, late)
        if self.world.loop.next_timer_s is not None:
            yield self.likely["pass time"], self._pass_time
        if not self.healing and any(worker.asked or worker.embedder.queued for worker in self.world.workers):
            yield from self._trouble()

    def _of_worker(self, worker: Worker) -> Iterator[Choice]:
        speed = self.speed[worker.name]
        for asked in worker.asked:
            yield speed, partial(self._answer, asked)
        for job in worker.embedder.queued:
            yield speed, partial(self._embed, worker, job)
        for partition in worker.trackers:
            if worker.may_accept(partition):
                yield speed, partial(self._accept, worker, partition)

    def _of_group(self, worker: Worker) -> Iterator[Choice]:
        for partition in worker.trackers:
            if not worker.owns(partition) and partition not in worker.leaving:
                yield self.likely["hear"], partial(self._hear, worker, partition)
        moved = worker.ledger.moved()
        if any(worker.owns(one) and self.world.committed[one] < mark.offset for one, mark in moved.items()):
            yield self.likely["commit"], partial(self._commit, worker)

    def _trouble(self) -> Iterator[Choice]:
        for worker in self.world.workers:
            for partition in worker.trackers:
                if worker.owns(partition):
                    yield self.likely["move"], partial(self._lose_silently, partition)
                    if partition not in worker.leaving:
                        yield self.likely["leave"], partial(self._hear, worker, partition)
            if self.kill_zombies or not worker.strays:
                yield self.likely["kill"], partial(self._kill, worker)
        if not self.deployed:
            yield self.likely["deploy"], self._deploy

    # --- the steps --------------------------------------------------------------------------------------------------

    def _say(self, *words: object) -> None:
        self.story.append(" ".join(map(str, words)))

    def _start(self, name: str) -> Worker:
        generation = int(self.deployed)
        self._say("start", name, "of generation", generation)
        return self.world.start(name, generation)

    def _assign(self, partition: Partition) -> None:
        candidates = [
            worker
            for worker in self.world.workers
            if partition not in worker.trackers and worker.generation >= self.newest[partition]
        ]
        worker = self.rng.choice(candidates) if candidates else self._start("C")
        self.newest[partition] = max(self.newest[partition], worker.generation)
        self._say("assign", partition.number, "to", worker, "from", self.world.committed[partition])
        self.world.assign(worker, partition)

    def _answer(self, asked: Asked) -> None:
        if not self.healing and self.rng.random() < self.likely["lose"]:
            lands = self.rng.random() < 0.8
            self._say(asked.worker, "loses", asked.step, "which may land" if lands else "for good")
            self.world.lose(asked, may_land=lands)
        else:
            self._say(asked.worker, asked.step)
            self.world.answer(asked)

    def _embed(self, worker: Worker, job: EmbedJob) -> None:
        self._say(worker, "gets vectors")
        worker.embedder.answer(job)

    def _accept(self, worker: Worker, partition: Partition) -> None:
        worker.accept(partition, self.rng.randint(1, 3))
        self._say(worker, "takes in of", partition.number, "up to", worker.at[partition])

    def _commit(self, worker: Worker) -> None:
        self.world.commit(worker)
        self._say(worker, "commits", list(self.world.committed.values()))

    def _land(self, late: Late) -> None:
        self._say("lands:", late.worker, late.method)
        self.world.land(late)

    def _pass_time(self) -> None:
        self.world.pass_time()
        self._say("it is", round(self.world.loop.now_s, 1))

    def _hear(self, worker: Worker, partition: Partition) -> None:
        self._say(worker, "hears that it loses", partition.number, "" if worker.owns(partition) else "(long lost)")
        self.world.revoke(worker, partition)

    def _lose_silently(self, partition: Partition) -> None:
        self._say("the group moves", partition.number, "silently")
        self.world.lose_silently(partition)

    def _kill(self, worker: Worker) -> None:
        self._say("kill", worker)
        self.world.kill(worker, lands=lambda: self.rng.random() < 0.5)
        self._start(worker.name)

    def _deploy(self) -> None:
        """From now on, processes start with generation 1; one of them does so at once, if it may be ended."""
        self.deployed = True
        self._say("deploy")
        for worker in self.world.workers:
            if not worker.strays:
                self._kill(worker)
                return

    # --- the end ----------------------------------------------------------------------------------------------------

    def _unsettled(self) -> list[str]:
        ends = {partition: len(log) for partition, log in self.world.log.items()}
        return [] if self.world.committed == ends else [f"committed {self.world.committed}, not {ends}"]

    def _wrong_letters(self) -> list[str]:
        """Dead letters of events that nothing is wrong with."""
        found = []
        for position in self.world.dead_letters.sent:
            record = self.world.log[Partition(position.topic, position.partition)][position.offset]
            if not is_dead_letter(orjson.loads(record.value or b""), self.world.order):
                found.append(f"a dead letter of {position}")
        return found


def run_schedule(engine: Engine, seed: int, order: Order, *, kill_zombies: bool = False) -> Result:
    """Run the schedule of a seed."""
    rng = random.Random(f"world {seed}")
    with world(
        engine,
        order,
        bound=rng.choice((1, 2, 3, 5)),
        late_chunking=rng.random() < 0.15,
        renamed=rng.random() < 0.3,
        embed_at_once=rng.random() < 0.3,
    ) as made:
        return Schedule(seed, made, kill_zombies=kill_zombies).run()
