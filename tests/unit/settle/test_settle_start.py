"""Where an assignment starts."""

import pytest

from streamdex.settle import start_offset

LOG = (10, 100)


@pytest.mark.parametrize(
    ("committed", "progress", "expected"),
    [
        (50, 50, 50),
        (50, 40, 40),  # a collection restored from an older copy catches up
        (40, 50, 40),  # a crash between progress and commit
        (50, None, 10),  # a new collection under an old group
        (None, 50, 10),  # a new group, or one whose offsets were deleted: all is read again
        (None, None, 10),
        (5, 5, 10),  # retention overtook the group
        (200, 200, 10),  # the log was cut or made anew
        (100, 100, 100),
        (10, 10, 10),
    ],
)
def test_start(committed: int | None, progress: int | None, expected: int) -> None:
    assert start_offset(committed, progress, LOG, latest=False) == expected


@pytest.mark.parametrize(
    ("committed", "progress", "expected"), [(None, None, 100), (50, None, 10), (50, 40, 40), (None, 30, 30)]
)
def test_latest_counts_only_where_nothing_is_known(committed: int | None, progress: int | None, expected: int) -> None:
    assert start_offset(committed, progress, LOG, latest=True) == expected


def test_an_empty_log_starts_at_its_end() -> None:
    assert start_offset(None, None, (7, 7), latest=False) == 7
