"""Progress bars on stderr."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class ProgressBars(Progress):
    """A context manager. Call it with what is being done, how many more are done, and the total where it is known."""

    def __init__(self, *, quiet: bool, width: int = 24) -> None:
        text = TextColumn(f"{{task.description:{width}}}")
        columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        super().__init__(*columns, console=Console(stderr=True, quiet=quiet))
        self._ids: dict[str, TaskID] = {}

    def __call__(self, what: str, more: int, total: int | None) -> None:
        if what not in self._ids:
            self._ids[what] = self.add_task(what, total=total)
        self.update(self._ids[what], advance=more, total=total)
