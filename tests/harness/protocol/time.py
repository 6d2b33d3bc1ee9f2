"""An event loop that is wound up by hand: nothing runs, and no time passes, unless it is told to."""

import asyncio
import selectors
from collections.abc import Callable


class _IdleSelector(selectors.SelectSelector):
    """Tells the loop's owner when nothing is left to do, instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.on_idle: Callable[[float | None], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self.on_idle(timeout)
        return []


class HandLoop(asyncio.SelectorEventLoop):
    """An event loop that is wound up by hand: `settle_down` runs what is ready, `pass_time` jumps to the next timer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.next_timer_s: float | None = None
        selector = _IdleSelector()
        super().__init__(selector)
        selector.on_idle = self._idle
        self.bugs: list[str] = []
        self.set_exception_handler(lambda _, context: self.bugs.append(repr(context)))

    def time(self) -> float:
        return self.now_s

    def _idle(self, timeout_s: float | None) -> None:
        self.next_timer_s = None if timeout_s is None else self.now_s + timeout_s
        self.stop()

    def settle_down(self) -> None:
        """Run until every task waits for something that only the world can give."""
        self.run_forever()

    def do(self, action: Callable[[], object]) -> None:
        """Do something inside the loop, and what follows from it."""
        self.call_soon(action)
        self.settle_down()

    def end(self) -> None:
        """Cancel what is left and close."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.settle_down()
        self.close()
