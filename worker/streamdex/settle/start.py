"""Where an assignment of a partition starts: nothing that the collection lacks may be skipped."""


def start_offset(committed: int | None, progress: int | None, log_range: tuple[int, int], *, latest: bool) -> int:
    """The offset to read first, always within `log_range` (its begin and end).

    `committed` is what the group knows, `progress` what the collection knows, None where it knows nothing; `latest`
    is the policy for a group that knows nothing: leave out what is there already, instead of reading it.

    - Both known: the lower. A collection restored from an older copy catches up.
    - Only the group knows: the collection is new, so from the beginning.
    - Only the collection knows: the group is new, or its offsets were deleted so that all is read again. From the
      beginning, which is cheap, as what the manifests list is not embedded again; with `latest` from the progress.
    - Neither: from the beginning, or with `latest` from the end.
    - Outside the log: from the beginning, which skips nothing that is still there.
    """
    begin, end = log_range
    if committed is None:
        start = (end if progress is None else progress) if latest else begin
    else:
        start = begin if progress is None else min(committed, progress)
    return start if begin <= start <= end else begin
