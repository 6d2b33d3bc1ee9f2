"""What schedules written by hand share: who owns what from the start, and how everything comes to its end."""

from typing import Any

from harness.protocol.deployments import PARTITIONS
from harness.protocol.worker import Worker
from harness.protocol.world import World

P, Q = PARTITIONS


def owner(w: World, name: str, generation: int = 0, partition: Any = P) -> Worker:
    """A worker that starts and owns the partition from its last commit on."""
    worker = w.start(name, generation)
    w.assign(worker, partition)
    return worker


def finish(w: World) -> None:
    """Everything that was given up lands, all time passes, and everybody comes to the end."""
    for late in list(w.late):
        w.land(late)
    for worker in w.workers:
        worker.run()
    while w.loop.next_timer_s is not None:
        w.pass_time()
        for worker in w.workers:
            worker.run()
    for worker in w.workers:
        w.commit(worker)
