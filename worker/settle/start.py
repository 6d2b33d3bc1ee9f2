"""Where an assignment of a partition starts: nothing that the collection lacks may be skipped."""


def start_offset(committed: int | None, progress: int | None, log_range: tuple[int, int], *, latest: bool) -> int:
    """The offset to read first, always within `log_range` (its begin and end).

    `committed` is what the group knows, `progress` what the collection knows, None where it knows nothing; `latest`
    says where to start a partition that neither knows.

    - Both known: the lower. A collection restored from an older copy catches up.
    - Only the group knows: the collection is new, so from the beginning.
    - Only the collection knows: the group is new or its commit expired; all below is in the collection already.
    - Outside the log: from the beginning, which skips nothing that is still there.
    """
    begin, end = log_range
    if progress is None:
        start = end if committed is None and latest else begin
    else:
        start = progress if committed is None else min(committed, progress)
    return start if begin <= start <= end else begin
