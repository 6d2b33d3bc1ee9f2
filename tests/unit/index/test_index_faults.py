"""What Qdrant answers, as faults of ours: each row of the table, and each bad day that the server can have."""

from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from qdrant_client import grpc as q

from harness.index import opened, put, settings_for
from streamdex.errors import (
    AccountFault,
    Exhausted,
    Reason,
    Service,
    ServiceFault,
    StreamdexError,
    SuspectFault,
    TooLarge,
)
from streamdex.index.client.faults import fault_of, refuse_unfinished
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault
from streamdex.telemetry import Metrics

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "kind", "unanswered"),
    [
        (Code.UNAVAILABLE, ServiceFault, True),
        (Code.DEADLINE_EXCEEDED, ServiceFault, True),
        (Code.CANCELLED, ServiceFault, True),
        (Code.UNKNOWN, ServiceFault, True),
        (Code.INTERNAL, ServiceFault, True),
        (Code.DATA_LOSS, ServiceFault, True),
        (Code.ABORTED, ServiceFault, True),
        (Code.FAILED_PRECONDITION, ServiceFault, False),
        (Code.RESOURCE_EXHAUSTED, Exhausted, False),
        (Code.OUT_OF_RANGE, TooLarge, False),
        (Code.INVALID_ARGUMENT, SuspectFault, None),
        (Code.ALREADY_EXISTS, SuspectFault, None),
        (Code.NOT_FOUND, AccountFault, None),
        (Code.UNAUTHENTICATED, AccountFault, None),
        (Code.PERMISSION_DENIED, AccountFault, None),
        (Code.UNIMPLEMENTED, AccountFault, None),
    ],
)
def test_each_status(code: Any, kind: type[StreamdexError], unanswered: bool | None) -> None:
    fault = fault_of("Upsert", code)
    assert type(fault) is kind
    assert getattr(fault, "unanswered", None) == unanswered
    assert f"(Upsert: {code.name})" in str(fault)
    assert getattr(fault, "reason", Reason.REFUSED_BY_INDEX) is Reason.REFUSED_BY_INDEX
    if isinstance(fault, AccountFault):
        assert fault.fix.endswith(".")


def test_every_status_has_a_meaning() -> None:
    assert all(isinstance(fault_of("Get", code), StreamdexError) for code in Code if code is not Code.OK)


@pytest.mark.parametrize(
    ("trailers", "retry_after_s", "kind"),
    [
        ([("retry-after", "3")], 3.0, ServiceFault),
        ([("Retry-After", "0")], 0.0, ServiceFault),
        ([("retry-after", b"7")], 7.0, ServiceFault),
        ([("qdrant-insufficient-storage", "true")], None, ServiceFault),
        ([("retry-after", "soon")], None, Exhausted),
        ([("other", b"bytes")], None, Exhausted),
        ([("retry-after", "-1")], None, Exhausted),
        ([("retry-after", "nan")], None, Exhausted),
        ([("retry-after", "1e400")], None, Exhausted),
        ([], None, Exhausted),
    ],
)
def test_trailers_tell_what_is_exhausted(
    trailers: list[tuple[str, Any]], retry_after_s: float | None, kind: type[ServiceFault]
) -> None:
    fault = fault_of("Upsert", Code.RESOURCE_EXHAUSTED, trailers)
    assert type(fault) is kind
    assert isinstance(fault, ServiceFault)
    assert fault.retry_after_s == retry_after_s
    assert not fault.unanswered


@pytest.mark.parametrize("status", [q.UnknownUpdateStatus, q.Acknowledged, q.ClockRejected, q.WaitTimeout])
def test_only_completed_settles(status: Any) -> None:
    refuse_unfinished("Upsert", [q.UpdateResult(status=q.Completed)])
    with pytest.raises(ServiceFault, match="has not finished") as caught:
        refuse_unfinished("UpdateBatch", [q.UpdateResult(status=q.Completed), q.UpdateResult(status=status)])
    assert caught.value.unanswered


@pytest.mark.parametrize(
    ("results", "told"), [([], "0 of 2 results"), ([q.Completed], "1 of 2 results"), ([q.Completed, 99], "99")]
)
def test_a_result_that_is_missing_or_unknown_does_not_settle(results: list[Any], told: str) -> None:
    refuse_unfinished("UpdateBatch", [q.UpdateResult(status=q.Completed)] * 2, expected=2)
    with pytest.raises(ServiceFault, match=told):
        refuse_unfinished("UpdateBatch", [q.UpdateResult(status=status) for status in results], expected=2)


BAD_DAYS = [
    (QdrantFault(FaultKind.UNAVAILABLE), ServiceFault, True, None),
    (QdrantFault(FaultKind.RATE_LIMITED, retry_after_s=5), ServiceFault, False, 5.0),
    (QdrantFault(FaultKind.DISK_FULL), ServiceFault, True, None),
    (QdrantFault(FaultKind.INSUFFICIENT_STORAGE), ServiceFault, False, None),
    (QdrantFault(FaultKind.INTERNAL), ServiceFault, True, None),
    (QdrantFault(FaultKind.RESET), ServiceFault, True, None),
    (QdrantFault(FaultKind.WAIT_TIMEOUT), ServiceFault, True, None),
    (QdrantFault(FaultKind.LOST_ANSWER), ServiceFault, True, None),
    (QdrantFault(FaultKind.UNANSWERED), ServiceFault, True, None),
    (QdrantFault(FaultKind.SEVERED), ServiceFault, True, None),
    (QdrantFault(FaultKind.UNAUTHENTICATED), AccountFault, None, None),
    (QdrantFault(FaultKind.PERMISSION_DENIED), AccountFault, None, None),
]


@pytest.mark.parametrize(
    ("fault", "kind", "unanswered", "retry_after_s"), BAD_DAYS, ids=lambda value: str(getattr(value, "kind", ""))
)
async def test_bad_days_of_the_server(
    qdrant_server: EmbeddedQdrant,
    fault: QdrantFault,
    kind: type[StreamdexError],
    unanswered: bool | None,
    retry_after_s: float | None,
) -> None:
    metrics = Metrics()
    settings = settings_for(qdrant_server, timeout_s=1.5)
    async with opened(qdrant_server, settings, metrics=metrics) as index:
        fault.times, fault.methods = 1, frozenset({"Points.UpdateBatch"})
        qdrant_server.faults.inject(fault)
        with pytest.raises(kind) as caught:
            await put(index, "secret-id", 64, ["secret text"], metadata={"secret": "metadata"})
        assert fault.fired == 1
        assert caught.value.service is Service.QDRANT  # type: ignore[attr-defined]  # every kind above has one
        assert getattr(caught.value, "unanswered", None) == unanswered
        assert getattr(caught.value, "retry_after_s", None) == retry_after_s
        assert "secret" not in repr(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        if fault.kind is not FaultKind.WAIT_TIMEOUT:
            assert total(metrics.registry, "streamdex_requests_failed_total") == 1


def total(registry: CollectorRegistry, name: str) -> float:
    return sum(sample.value for family in registry.collect() for sample in family.samples if sample.name == name)


async def test_a_collection_that_is_gone(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        qdrant_server.engine.handle("Collections.Delete", q.DeleteCollection(collection_name="documents__1"))
        with pytest.raises(AccountFault, match="does not have the collection") as caught:
            await put(index, "1", 64, ["text"])
        assert "start the worker again" in caught.value.fix
