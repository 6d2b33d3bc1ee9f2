"""What happens when a test needs something real and it cannot be had: loud, and a failure where it was promised."""

import os
from collections.abc import Callable
from typing import Any

import pytest

MISSING = pytest.StashKey[dict[str, str]]()
USED = pytest.StashKey[dict[str, str]]()


def required(service: str) -> bool:
    """Whether a run without the service must fail: in CI, or by STREAMDEX_TEST_<SERVICE>=required."""
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return in_ci or os.environ.get(f"STREAMDEX_TEST_{service.upper()}") == "required"


def teller(config: pytest.Config) -> Callable[[str], object]:
    """A function that prints a line at once, past the capture of the test at hand: for steps that take seconds."""
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None:  # one of several processes, none of which has the terminal
        return lambda _: None
    capture: Any = config.pluginmanager.get_plugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(line)

    return say


def note_used(config: pytest.Config, service: str, backend: str) -> None:
    """Note for the summary what stood in for `service`, such as "container qdrant/qdrant:v1.18.0"."""
    config.stash.setdefault(USED, {})[service] = backend


def refusal(config: pytest.Config, service: str, why: str) -> BaseException:
    """What to raise where `service` (such as "Kafka") cannot be had: a failure where it is required, else a skip.

    The summary will tell.
    """
    config.stash.setdefault(MISSING, {})[service] = why
    if required(service):
        return pytest.fail.Exception(f"real {service} is required here and cannot be had: {why}", pytrace=False)
    return pytest.skip.Exception(f"no real {service}: {why}", _use_item_location=True)


def write_summary(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say at the end of the run what was real, and in red what was not."""
    for service, backend in config.stash.get(USED, {}).items():
        terminal.write_line(f"{service}: {backend}")
    for service, why in config.stash.get(MISSING, {}).items():
        terminal.write_line(f"NOT TESTED against real {service}: {why}", red=True, bold=True)


def hand_over(config: pytest.Config) -> None:
    """In one of several processes: let the one that has the terminal know."""
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["services"] = [config.stash.get(USED, {}), config.stash.get(MISSING, {})]


def take_over(config: pytest.Config, output: dict[str, Any]) -> None:
    """In the process that has the terminal: what one of the others has noted."""
    for key, found in zip((USED, MISSING), output.get("services", ()), strict=False):
        config.stash.setdefault(key, {}).update(found)
