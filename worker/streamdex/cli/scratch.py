"""A folder for what a command must remember for its own time, and that may be too much for memory."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamdex.errors import ConfigurationError


@contextmanager
def scratch_folder(command: str) -> Iterator[Path]:
    """A temporary folder, gone afterwards. Raises ConfigurationError where none can be made, or it has no room.

    What is kept in it is kept by SQLite: its errors alone speak of the folder, any other is somebody else's.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=f"streamdex-{command}-")
    except OSError as error:
        raise _unusable(error) from None
    with folder as name:
        try:
            yield Path(name)
        except sqlite3.OperationalError as error:
            raise _unusable(error) from None


def _unusable(error: Exception) -> ConfigurationError:
    what = f"the temporary folder cannot be written to: {type(error).__name__}"
    return ConfigurationError(what, "TMPDIR", "Set TMPDIR to a folder with room.")
