"""`streamdex run` with a hand on it: it can be killed between any two steps, and tells what answers it got.

The hand stands outside the product: it wraps methods when the process starts. `CHAOS_ORDER` names a file; when a step
and a moment are written into it (`manifests before`), the process kills itself there and leaves a line in the file
`CHAOS_EVENTS`. The order's file is renamed to `*.fired` first: that is the proof.
"""

import asyncio
import functools
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.run_directory import append_line
from streamdex.cli import main
from streamdex.deadletter.producer import DeadLetters
from streamdex.embed.http.client import JinaClient
from streamdex.index import Reader
from streamdex.index.points import PointWriter
from streamdex.index.writer import Writer
from streamdex.intake.consumer.session import Session
from streamdex.run.dispatch import Dispatcher
from streamdex.run.partitions import AssignedPartitions, LogPositions

# Each step of an event, and the method that does it.
STEPS: dict[str, tuple[type[Any], str]] = {
    "assigned": (AssignedPartitions, "assigned"),
    "plan": (Reader, "manifests"),
    "embed": (JinaClient, "embed"),
    "points": (PointWriter, "_send"),
    "kept": (PointWriter, "vanished"),
    "manifests": (Writer, "_send_manifests"),
    "read-back": (Writer, "_read_ranks"),
    "purge": (Writer, "_send_delete"),
    "dead letter": (DeadLetters, "send"),
    "settle": (Dispatcher, "_settle"),
    "progress": (LogPositions, "write_progress"),
    "commit": (Session, "commit"),
    "revoked": (AssignedPartitions, "revoked"),
}
MOMENTS = ("before", "amid", "after")
AMID_S = 0.002  # a request is under way by then


class Hand:
    """Kills this process where it was told to."""

    def __init__(self, name: str, order: Path, events: Path) -> None:
        self._name = name
        self._order = order
        self._events = events

    def at(self, step: str, moment: str) -> None:
        """The process has come to this place."""
        if self._ordered(step, moment):
            self._kill(step, moment)

    def soon(self, step: str) -> None:
        """A request is about to be sent: kill while it is under way, if that was the order."""
        if self._ordered(step, "amid"):
            asyncio.get_running_loop().call_later(AMID_S, self._kill, step, "amid")

    def _ordered(self, step: str, moment: str) -> bool:
        try:
            return self._order.read_text() == f"{step} {moment}"
        except FileNotFoundError:
            return False

    def _kill(self, step: str, moment: str) -> None:
        try:
            self._order.rename(self._order.with_suffix(".fired"))
        except FileNotFoundError:
            return  # taken back meanwhile
        where = {"step": step, "moment": moment, "worker": self._name, "pid": os.getpid()}
        append_line(self._events, {"at": time.time(), "kind": "hook_fired", **where})
        os.kill(os.getpid(), signal.SIGKILL)


def install(hand: Hand) -> None:
    """Wrap all steps. Raises AttributeError when the product has no such method any more."""
    for step, (owner, name) in STEPS.items():
        inner = getattr(owner, name)
        wrap = _around if asyncio.iscoroutinefunction(inner) else _around_sync
        setattr(owner, name, wrap(hand, step, inner))


def _around(hand: Hand, step: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        hand.at(step, "before")
        hand.soon(step)
        result = await inner(*args, **kwargs)
        hand.at(step, "after")
        return result

    return wrapped


def _around_sync(hand: Hand, step: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        hand.at(step, "before")
        result = inner(*args, **kwargs)
        hand.at(step, "after")
        return result

    return wrapped


def note_answers(name: str, answers: Path) -> None:
    """Requests to Jina carry this worker's name as their User-Agent, and the answers it gets are written down."""
    begin, embed = JinaClient.__init__, JinaClient.embed

    @functools.wraps(begin)
    def begin_named(self: JinaClient, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._http.headers["user-agent"] = name

    @functools.wraps(embed)
    async def embed_noted(self: JinaClient, texts: Any, *args: Any, **kwargs: Any) -> Any:
        sent = time.time()
        answer = await embed(self, texts, *args, **kwargs)
        inputs = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
        append_line(answers, {"sent": sent, "at": time.time(), "worker": name, "inputs": inputs})
        return answer

    JinaClient.__init__ = begin_named  # type: ignore[method-assign]  # that is what this module is for
    JinaClient.embed = embed_noted  # type: ignore[method-assign]  # the same


def start() -> None:
    """Be `streamdex run`."""
    name = os.environ["CHAOS_WORKER"]
    note_answers(name, Path(os.environ["CHAOS_ANSWERS"]))
    install(Hand(name, Path(os.environ["CHAOS_ORDER"]), Path(os.environ["CHAOS_EVENTS"])))
    sys.argv = ["streamdex", "run"]
    main()


if __name__ == "__main__":
    start()
