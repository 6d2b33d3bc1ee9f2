"""`streamdex dlq` before a broker is asked, and times that no calendar has. On one: `integration/test_dlq.py`."""

from datetime import datetime, timedelta, timezone

import pytest

from harness.cli import Cli
from streamdex.cli.dlq import _ms
from streamdex.cli.options import time_text


@pytest.mark.parametrize(
    ("when", "ms"),
    [
        (None, None),
        (datetime(2026, 1, 31, 12), 1_769_860_800_000),  # noqa: DTZ001  # as people type it
        (datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))), 1_769_853_600_000),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(when: datetime | None, ms: int | None) -> None:
    assert _ms(when) == ms


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (1_769_860_800_000, "2026-01-31T12:00:00.000+00:00"),
        (-1, "1969-12-31T23:59:59.999+00:00"),
        (1_700_000_000_000_000, "1700000000000000 ms"),
        (2**63 - 1, "9223372036854775807 ms"),
    ],
)
def test_a_time_that_no_calendar_has_is_shown_as_it_is(time_ms: int, text: str) -> None:
    assert time_text(time_ms) == text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("list", "--document", "\udcff"), "the id is not UTF-8"),
        (("list", "--reason", "sloth"), "'sloth' is not one of"),
        (("list", "--since", "yesterday"), "Invalid value for '--since'"),
        (("show", "documents.dlq"), "the place cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_connected(
    cli: Cli, options: tuple[str, ...], says: str
) -> None:
    said = cli("dlq", *options)
    assert said.exit_code == 2
    assert says in said.err
