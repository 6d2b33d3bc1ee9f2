"""Tells people how a run goes, on stderr, so that the table or the JSON on stdout can be piped."""

import time

from rich.console import Console
from rich.status import Status

EVERY_S = 30.0  # where there is no terminal, whose last line could be written anew


class Voice:
    """`say` leaves a line behind; `now` tells what is going on at the moment."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status: Status | None = None
        self._began_s = time.monotonic()
        self._told_s = -EVERY_S

    def say(self, line: str) -> None:
        """Something that stays."""
        self._console.print(f"[{self._clock()}] {line}", markup=False, highlight=False, soft_wrap=True)

    def now(self, line: str) -> None:
        """How it stands."""
        if self._console.is_terminal:
            if self._status is None:
                self._status = self._console.status(line)
                self._status.start()
            self._status.update(f"{self._clock()} {line}")
        elif time.monotonic() - self._told_s >= EVERY_S:
            self._told_s = time.monotonic()
            self.say(line)

    def end(self) -> None:
        """Leave the terminal as it was. Safe twice."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began_s), 60)
        return f"{minutes:02}:{seconds:02}"
