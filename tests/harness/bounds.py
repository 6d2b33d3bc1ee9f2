"""The bounds of the worker that tests change, in one place: a module that moves is changed here."""

from enum import StrEnum

import pytest


class Bound(StrEnum):
    """A constant of the worker, by where it is."""

    ACCOUNT_RETRY_S = "streamdex.embed.circuit_breaker.ACCOUNT_RETRY_S"
    AFTER_FAILURE_S = "streamdex.intake.consumer.poller.AFTER_FAILURE_S"
    ASK_AGAIN_S = "streamdex.intake.consumer.client.ASK_AGAIN_S"
    BASE_S = "streamdex.retry.BASE_S"
    CAP_S = "streamdex.retry.CAP_S"
    MAX_POLL_INTERVAL_S = "streamdex.intake.consumer.client.MAX_POLL_INTERVAL_S"
    METADATA_MAX_AGE_S = "streamdex.intake.consumer.client.METADATA_MAX_AGE_S"
    NO_MEMBER_S = "streamdex.intake.consumer.watch.NO_MEMBER_S"
    POLL_STUCK_S = "streamdex.intake.consumer.watch.POLL_STUCK_S"
    PROGRESS_TIMEOUT_S = "streamdex.settle.committer.PROGRESS_TIMEOUT_S"
    QUIET_S = "streamdex.embed.pacing.share.QUIET_S"
    REBALANCE_TIMEOUT_S = "streamdex.intake.consumer.client.REBALANCE_TIMEOUT_S"
    REQUEST_BYTES = "streamdex.index.points.REQUEST_BYTES"
    SCROLL_PAGE = "streamdex.index.client.store.SCROLL_PAGE"
    SEND_LIMIT_S = "streamdex.deadletter.producer.SEND_LIMIT_S"
    SHARE_EVERY_S = "streamdex.run.partitions.SHARE_EVERY_S"
    STOP_LIMIT_S = "streamdex.deadletter.client.STOP_LIMIT_S"
    SURVEY_EVERY_S = "streamdex.intake.consumer.poller.SURVEY_EVERY_S"
    TICK_S = "streamdex.settle.committer.TICK_S"
    UNREADABLE_FOR_S = "streamdex.intake.consumer.poller.UNREADABLE_FOR_S"
    WELL_AFTER_S = "streamdex.intake.consumer.poller.WELL_AFTER_S"
    WINDOW_BYTES = "streamdex.operations.replay.WINDOW_BYTES"


def set_bound(patch: pytest.MonkeyPatch, bound: Bound, value: float) -> None:
    """Give a bound another value for as long as the patch lasts. Raises AttributeError for one that is not there."""
    patch.setattr(bound.value, value)
