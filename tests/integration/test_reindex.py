"""`streamdex reindex` on real Kafka: another model takes the place, workers go on, and nothing is paid for twice."""

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.deployment import Deployment, message, stream, until
from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka
from harness.processes import WorkerProcess
from streamdex.model import Partition
from streamdex.standins.jina import JinaServer

OTHER = {"STREAMDEX_JINA__DIMENSIONS": "256"}


@pytest.fixture
async def deployment(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> Deployment:
    topic = await kafka.create_topic(partitions=4)
    return Deployment(kafka, jina, qdrant.address, qdrant.collection, topic, kafka.unique_group(), tmp_path)


def reindexer(deployment: Deployment, *options: str, **settings: str) -> WorkerProcess:
    """`streamdex reindex --json`, yet to be started."""
    name = f"reindex-{len(list(deployment.folder.glob('reindex-*')))}"
    process = deployment.worker(name, **OTHER, **settings)
    process.program = ("-m", "streamdex.cli", "reindex", "--json", *options)
    return process


def answer(process: WorkerProcess) -> dict[str, Any]:
    """What `--json` printed, over several lines, after what was logged."""
    begin = '{\n  "alias"'
    return dict(json.loads(begin + process.log.rpartition(begin)[2]))


async def reindex(deployment: Deployment, *options: str, code: int = 0, **settings: str) -> dict[str, Any]:
    async with reindexer(deployment, *options, **settings) as process:
        assert await process.wait() == code, process.log
    return answer(process)


async def test_another_model_takes_the_place_while_the_old_worker_goes_on(deployment: Deployment) -> None:
    """As README says, step by step; and the new workers pay for nothing that the reindexing has paid for."""
    await deployment.produce(stream(300, random.Random(10)))
    async with deployment.worker("old") as old:
        await deployment.settled()
        async with deployment.worker("refused", **OTHER) as refused:
            assert await refused.wait() == 2
        assert "run streamdex reindex" in refused.log
        async with reindexer(deployment) as process:
            await deployment.produce(stream(100, random.Random(11)))
            assert await process.wait() == 0, process.log
        await deployment.settled()
        assert await old.stop() == 0
    done = answer(process)
    name, group = deployment.collection, deployment.group
    assert (done["predecessor"], done["successor"], done["group"]) == (f"{name}__1", f"{name}__2", f"{group}__2")
    assert (done["filled"], done["switched"], done["missing"]) == (True, True, {})
    deployment.number = 2
    before = deployment.jina.stats.inputs_embedded
    await deployment.catch_up("new", **OTHER)
    assert deployment.jina.stats.inputs_embedded - before <= 100, "what came while it was compared and switched"
    await deployment.produce([message("one more", "A text of its own.")])
    assert await deployment.work_it_off("later", **OTHER) == 1
    assert await deployment.equals_the_fold(), deployment.wrong


async def test_stopped_it_goes_on_where_it_was_and_pays_for_nothing_twice(deployment: Deployment) -> None:
    await deployment.produce([message(f"doc-{number}", f"Text {number}.") for number in range(3_000)])
    await deployment.work_it_off()
    before = deployment.jina.stats.inputs_embedded
    async with reindexer(deployment, STREAMDEX_JINA__REQUESTS_PER_MINUTE="60") as process:
        await until(lambda: deployment.jina.stats.inputs_embedded > before)
        os.kill(process.pid, signal.SIGTERM)
        assert await process.wait() == 3, process.log
    done = answer(process)
    assert (done["filled"], done["stopped"], done["switched"]) == (False, True, False)
    assert deployment.jina.stats.inputs_embedded < before + 3_000, "stopped before the end"
    assert await deployment.equals_the_fold(), "the old collection is in its place"
    assert (await reindex(deployment))["switched"]
    assert deployment.jina.stats.inputs_embedded == before + 3_000
    deployment.number = 2
    assert await deployment.equals_the_fold(), deployment.wrong


async def test_two_at_once_pay_for_nothing_twice(deployment: Deployment) -> None:
    await deployment.produce([message(f"doc-{number}", f"Text {number}.") for number in range(2_000)])
    await deployment.work_it_off()
    before = deployment.jina.stats.inputs_embedded
    async with reindexer(deployment) as one, reindexer(deployment) as other:
        assert (await one.wait(), await other.wait()) == (0, 0), one.log + other.log
    assert deployment.jina.stats.inputs_embedded == before + 2_000
    deployment.number = 2
    assert await deployment.equals_the_fold(), deployment.wrong


async def test_what_the_log_has_lost_is_counted_and_not_switched_away(deployment: Deployment) -> None:
    await deployment.produce([message(f"doc-{number}", f"Text {number}.") for number in range(40)])
    await deployment.work_it_off()
    end = (await deployment.kafka.end_offsets(deployment.topic))[Partition(deployment.topic, 0)]
    assert end > 5, "the partition has documents to lose"
    await deployment.kafka.delete_records(Partition(deployment.topic, 0), end - 2)
    done = await reindex(deployment, code=1)
    assert (done["filled"], done["switched"], done["compared"]) == (True, False, 40)
    assert done["missing"]["not_in_the_log"]["count"] == end - 2
    assert 0 < len(done["missing"]["not_in_the_log"]["examples"]) <= 5
    assert await deployment.equals_the_fold(), "the old collection is in its place"
    assert (await reindex(deployment, "--accept-missing"))["switched"]


async def test_what_cannot_be_indexed_any_more_is_told_also_where_an_older_event_can(deployment: Deployment) -> None:
    long = "A long text. " * 50
    await deployment.produce([message("short", "Short."), message("long", long), message("grown", "Short at first.")])
    await deployment.produce([message("again", "Short at first."), message("gone", "Short.")])
    await deployment.produce([message("grown", long), message("again", None), message("gone", None)])
    await deployment.produce([message("again", long)])
    await deployment.work_it_off()
    done = await reindex(deployment, code=1, STREAMDEX_CAPS__DOCUMENT_TOKENS="40")
    assert (done["switched"], done["compared"]) == (False, 4)
    assert done["missing"]["not_indexed"]["count"] == 3
    assert {one["document_id"] for one in done["missing"]["not_indexed"]["examples"]} == {"long", "grown", "again"}


async def test_of_a_topic_that_was_made_anew_the_old_documents_are_not_switched_away(deployment: Deployment) -> None:
    await deployment.produce([message(f"doc-{number}", f"Text {number}.") for number in range(60)])
    await deployment.work_it_off()
    await deployment.kafka.make_topic_anew(deployment.topic, partitions=4)
    deployment.produced.clear()
    await deployment.produce([message(f"doc-{number}", f"Text {number}.") for number in range(20)])
    async with reindexer(deployment) as process:
        assert await process.wait() == 2
    assert "Raise kafka.epoch by one" in process.log
    done = await reindex(deployment, code=1, STREAMDEX_KAFKA__EPOCH="1")
    assert (done["switched"], done["compared"]) == (False, 60)
    assert done["missing"]["not_in_the_log"]["count"] == 40


async def test_a_successor_that_was_deleted_is_filled_again_whatever_its_group_has_committed(
    deployment: Deployment,
) -> None:
    await deployment.produce([message(f"doc-{number}", f"Text {number}.") for number in range(20)])
    await deployment.work_it_off()
    done = await reindex(deployment, "--no-switch")
    client = deployment.qdrant.client()
    for name in (done["successor"], f"{done['successor']}__manifests"):
        await client.delete_collection(name)
    await client.close()
    again = await reindex(deployment)
    assert (again["successor"], again["group"], again["switched"]) == (done["successor"], done["group"], True)
    deployment.number = 2
    assert await deployment.equals_the_fold(), deployment.wrong


async def test_filled_first_and_switched_later(deployment: Deployment) -> None:
    await deployment.produce(stream(100, random.Random(12)))
    await deployment.work_it_off()
    before = deployment.jina.stats.inputs_embedded
    done = await reindex(deployment, "--no-switch")
    assert (done["filled"], done["switched"]) == (True, False)
    assert await deployment.equals_the_fold(), deployment.wrong
    paid = deployment.jina.stats.inputs_embedded - before
    await deployment.produce([message("one more", "A text of its own.")])
    assert (await reindex(deployment))["switched"]
    assert deployment.jina.stats.inputs_embedded == before + paid + 1
    deployment.number = 2
    assert await deployment.equals_the_fold(), deployment.wrong
