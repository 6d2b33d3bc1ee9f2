"""What all tests share. The fixtures stand in modules of their own, one per neighbour."""

from typing import Any

import pytest

from harness import services as real_services

pytest_plugins = ["harness.fixtures_kafka", "harness.fixtures_jina", "harness.fixtures_qdrant", "harness.fixtures_cli"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was real and what was not."""
    real_services.write_summary(terminalreporter, config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where tests run in several processes, each of them has seen only its own."""
    real_services.hand_over(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001  # names that pytest-xdist knows the hook by
    """One of several processes has ended; a crashed one tells nothing."""
    real_services.take_over(node.config, getattr(node, "workeroutput", {}))
