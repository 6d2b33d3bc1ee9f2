"""What all tests share. The fixtures stand in modules of their own, one per neighbour."""

import pytest
import real_services

pytest_plugins = ["fixtures_kafka", "fixtures_jina", "fixtures_qdrant"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was real and what was not."""
    real_services.write_summary(terminalreporter, config)
