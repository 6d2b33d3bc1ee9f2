"""What waits for vectors: jobs (a document's texts), cut into pieces that may travel apart, packed into parcels.

A job is done when all its texts have a vector, however many requests that took, or when one of them is condemned.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamdex.embed.http.answers import Vector
from streamdex.embed.models import Profile
from streamdex.embed.pacing.pacer import Charge as PacerCharge
from streamdex.errors import Reason, RecordFault, Stage, StreamdexError

CANARY = ("word", 3)  # text and tokens


@dataclass(slots=True, eq=False)
class EmbedJob:
    """One document's texts with their estimated tokens.

    `together` (late chunking) sends all texts in one request of their own.
    """

    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    together: bool = False
    vectors: list[Vector] = field(init=False)
    missing: int = field(init=False)  # texts without a vector
    ended: asyncio.Future[list[Vector]] | None = field(init=False, default=None)  # from when it is queued
    closed: bool = field(init=False, default=False)  # done, condemned or withdrawn: its pieces are dropped

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.tokens):
            raise ValueError("a job has one token estimate for each text")
        self.missing = len(self.texts)
        self.vectors = [b""] * self.missing

    def __repr__(self) -> str:
        """Counts alone: texts belong to the user."""
        return f"EmbedJob({len(self.texts)} texts, {self.missing} missing)"

    def pieces(self) -> "list[Piece]":
        """The parts that travel whole: each text, or all of them together."""
        if self.together and self.texts:
            return [Piece(self, 0, len(self.texts))]
        return [Piece(self, place, place + 1) for place in range(len(self.texts))]


class Piece:
    """The texts of a job from `start` to `stop`, which are never parted."""

    __slots__ = ("inputs", "job", "size_bytes", "start", "stop", "tokens")

    def __init__(self, job: EmbedJob, start: int, stop: int) -> None:
        self.job = job
        self.start = start
        self.stop = stop
        self.inputs = stop - start  # of a request
        # In memory, without encoding the text. Mostly there is one of it: a sum over a slice takes three times as long.
        if self.inputs == 1:
            self.tokens = job.tokens[start]
            self.size_bytes = sys.getsizeof(job.texts[start])
        else:
            self.tokens = sum(job.tokens[start:stop])
            self.size_bytes = sum(map(sys.getsizeof, job.texts[start:stop]))

    @property
    def texts(self) -> tuple[str, ...]:
        """Its texts, in order."""
        return self.job.texts[self.start : self.stop]


@dataclass(slots=True, eq=False)
class Charge:
    """What stands against a parcel since it last failed; kept by `blame`, in its own ticks.

    `failures` are counted only with something else passing in between, `attempts` are all. The tallies are how
    others stood when the parcel, or the first that was halved for it, first failed: (passed, failed).
    """

    fault: StreamdexError | Exception
    failed_at: int
    failures: int = 1
    attempts: int = 1
    canaries: tuple[int, int] = (0, 0)
    others: tuple[int, int] = (0, 0)


@dataclass(slots=True, eq=False)
class Bisection:
    """What stood against a parcel that was halved, and against those it was a half of; kept by `blame`.

    All that stands against one half of it when the other half has passed.
    """

    charge: Charge
    before: "Bisection | None"
    passed: int = 0  # of the halves


class Parcel:
    """What one request carries. `fresh` until it has failed once, `sent` from its first time; a half is not fresh."""

    __slots__ = ("charge", "fresh", "not_before_s", "part_of", "pieces", "sent", "tokens")

    def __init__(self, pieces: Sequence[Piece], *, fresh: bool = True, part_of: Bisection | None = None) -> None:
        self.pieces = pieces
        self.part_of = part_of
        self.fresh = fresh
        self.sent = not fresh
        self.charge: Charge | None = None
        self.not_before_s = 0.0
        self.tokens = sum(piece.tokens for piece in pieces)

    def __repr__(self) -> str:
        return f"Parcel({len(self.pieces)} pieces, {self.tokens} tokens)"

    @property
    def alone(self) -> bool:
        """Whether there is nothing left to part: whatever happens to it happens to this piece."""
        return len(self.pieces) == 1

    def drop_closed(self) -> bool:
        """Leave out what nobody waits for any more; False when nothing is left. What stood against it goes with it."""
        left = [piece for piece in self.pieces if not piece.job.closed]
        if len(left) < len(self.pieces):
            self.pieces = left
            self.tokens = sum(piece.tokens for piece in left)
            self.charge = self.part_of = None
        return bool(left)

    def texts(self) -> list[str]:
        """The inputs of the request."""
        return [text for piece in self.pieces for text in piece.texts]

    def halves(self) -> "tuple[Parcel, Parcel]":
        """Two parcels of half the pieces each."""
        middle = len(self.pieces) // 2
        whole = Bisection(self.charge, self.part_of) if self.charge else None
        first, second = self.pieces[:middle], self.pieces[middle:]
        return Parcel(first, fresh=False, part_of=whole), Parcel(second, fresh=False, part_of=whole)

    def deliver(self, vectors: Sequence[Vector]) -> list[EmbedJob]:
        """Hand the vectors, in the order of `texts()`, to the jobs. Returns the jobs that are done by that."""
        done: list[EmbedJob] = []
        place = 0
        for piece in self.pieces:
            job, count = piece.job, piece.inputs
            if not job.closed:
                job.vectors[piece.start : piece.stop] = vectors[place : place + count]
                job.missing -= count
                if not job.missing:
                    job.closed = True
                    done.append(job)
            place += count
        return done


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A parcel under way: the number that orders attempts, what it was charged, and what it is sent for."""

    parcel: Parcel
    number: int
    charge: PacerCharge
    probe: bool
    canary: bool


def canary() -> Parcel:
    """One word that no service has reason to refuse."""
    text, tokens = CANARY
    return Parcel(EmbedJob((text,), (tokens,)).pieces(), fresh=False)


def impossible(job: EmbedJob, profile: Profile) -> RecordFault | None:
    """Late chunking needs the whole document in one request; no splitting can mend one that does not fit."""
    if not job.together:
        return None
    chunks, tokens, context = len(job.texts), sum(job.tokens), profile.max_input_tokens
    if chunks > profile.max_inputs:
        told = f"late chunking takes {profile.max_inputs} chunks at most, this document has {chunks}"
        return RecordFault(Stage.EMBED, Reason.TOO_MANY_CHUNKS, told)
    truncated = profile.passage_fields.get("truncate", False)
    if context is not None and tokens > context and not truncated:
        told = f"late chunking takes {context} tokens at most, this document has about {tokens}"
        return RecordFault(Stage.EMBED, Reason.TOO_MANY_TOKENS, told)
    return None
