"""`verify --repair` judges by the worker's rule: a refusal that ends is no record's fault. A mutant must fail here."""

from pathlib import Path

import pytest

from harness.fixtures_qdrant import QdrantSpace, address_of
from harness.kafka import Kafka
from harness.verify import World, upsert
from streamdex.run import suspects
from streamdex.standins.jina import JinaServer
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault

POINTS = frozenset({"Points.UpdateBatch"})


@pytest.mark.parametrize(
    ("refusals", "dead_lettered"), [(suspects.REFUSALS, 0), (1, 1)], ids=["shipped", "mutant-believe-one-refusal"]
)
async def test_a_refusal_that_ends_is_not_the_records_fault(
    refusals: int,
    dead_lettered: int,
    kafka: Kafka,
    jina: JinaServer,
    qdrant_server: EmbeddedQdrant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = QdrantSpace(address_of(qdrant_server), "documents")
    world = World(kafka, jina, space, await kafka.create_topic(), tmp_path, {})
    try:
        await world.produce(upsert("one", "a first text"))
        await world.work()
        await world.drop_manifests(["one"])
        await world.drop("one", 0)
        monkeypatch.setattr(suspects, "REFUSALS", refusals)
        refused = qdrant_server.faults.inject(QdrantFault(FaultKind.BAD_POINT, POINTS, times=1))
        result = await world.repair()
    finally:
        await world.client.close()
    assert refused.fired == 1
    assert result.repaired is not None
    assert (result.repaired.written, result.repaired.dead_lettered) == (1 - dead_lettered, dead_lettered)
    assert result.after.equal
    assert len(await kafka.read_all(f"{world.topic}.dlq")) == dead_lettered
