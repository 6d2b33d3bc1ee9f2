"""A folder for what a command keeps while it runs, and what may be too much for memory."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamdex.errors import ConfigurationError


@contextmanager
def temporary_folder(command: str) -> Iterator[Path]:
    """A temporary folder, deleted afterwards. Raises ConfigurationError where none can be made, or when it is full.

    SQLite keeps what is in it, so only SQLite's errors are about the folder; others pass through.
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
    return ConfigurationError(what, "TMPDIR", "Set TMPDIR to a folder with free space.")
