"""Commands in the test's own process; what they give is in `harness.cli`."""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from harness.cli import Cli
from streamdex.config import PREFIX, USUAL_VARIABLES


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Commands; what they did to logging is undone afterwards."""
    for name in os.environ:
        if "__" in name.removeprefix(PREFIX) or name in USUAL_VARIABLES or name == "STREAMDEX_CONFIG":
            monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Cli()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
