"""The queue of pieces that were not sent yet: first in, first out but for gaps, cut into parcels when one goes."""

from collections import deque

from streamdex.embed.jobs import EmbedJob, Parcel, Piece

FULL = 0.95  # of the tokens: it is not worth looking for something smaller
PASSED_OVER = 8  # by one parcel at most: so many parcels later at most it goes


class Queue:
    """Pieces in the order they came, with what they amount to."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self.inputs = 0
        self.tokens = 0
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, job: EmbedJob) -> None:
        """Append all pieces of a job."""
        for piece in job.pieces():
            self._pieces.append(piece)
            self._count(piece, 1)

    def prefix(self, max_inputs: int, max_tokens: float) -> Parcel | None:
        """Take what fits, at least the first; None when there is nothing. A `together` job goes by itself.

        A piece that does not fit any more is passed over for smaller ones behind it, and is then the first of the next
        parcel or soon after: half-empty parcels would waste the requests.
        """
        taken: list[Piece] = []
        passed_over: list[Piece] = []
        inputs = tokens = 0
        while self._pieces and inputs < max_inputs:
            piece = self._pieces[0]
            if piece.job.closed:  # another of its pieces was condemned
                self._take()
                continue
            if taken and piece.job.together:
                break
            if taken and (tokens + piece.tokens > max_tokens or inputs + piece.inputs > max_inputs):
                if len(passed_over) == PASSED_OVER or tokens >= FULL * max_tokens:
                    break
                passed_over.append(self._pieces.popleft())
                continue
            taken.append(self._take())
            inputs += piece.inputs
            tokens += piece.tokens
            if piece.job.together:
                break
        self._pieces.extendleft(reversed(passed_over))
        return Parcel(taken) if taken else None

    def drop_closed(self) -> None:
        """Forget the pieces of jobs that were withdrawn."""
        for _ in range(len(self._pieces)):
            piece = self._take()
            if not piece.job.closed:
                self._pieces.append(piece)
                self._count(piece, 1)

    def _take(self) -> Piece:
        piece = self._pieces.popleft()
        self._count(piece, -1)
        return piece

    def _count(self, piece: Piece, sign: int) -> None:
        self.inputs += sign * piece.inputs
        self.tokens += sign * piece.tokens
        self.size_bytes += sign * piece.size_bytes
