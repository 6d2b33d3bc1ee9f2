"""SIGHUP to a worker as users run it: another key and other limits without a restart; wrong settings change nothing."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from harness.deployment import Deployment, message, until
from harness.fixtures_jina import StartJina
from harness.fixtures_qdrant import QdrantSpace
from harness.kafka import Kafka
from harness.processes import WorkerProcess
from streamdex.standins.jina import JinaServer, Options

FIRST_KEY, SECOND_KEY, THIRD_KEY = "jina_canary_first", "jina_canary_second", "jina_canary_third"


@pytest.fixture
async def jina(start_jina: StartJina) -> JinaServer:
    return await start_jina(Options(api_key=SECOND_KEY))


@pytest.fixture
async def deployment(kafka: Kafka, jina: JinaServer, qdrant: QdrantSpace, tmp_path: Path) -> Deployment:
    topic = await kafka.create_topic(partitions=1)
    return Deployment(kafka, jina, qdrant.address, qdrant.collection, topic, kafka.unique_group(), tmp_path)


async def requests_per_minute(worker: WorkerProcess) -> float:
    """What the pacing allows, as the metrics tell."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{await worker.admin_url()}/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith('streamdex_limit_in_force{limit="requests"}')]
    return float(line.split()[-1])


async def until_allowed(worker: WorkerProcess, least: float, most: float) -> None:
    async with asyncio.timeout(30.0):
        while not least <= await requests_per_minute(worker) <= most:
            await asyncio.sleep(0.1)


async def told(worker: WorkerProcess, event: str, times: int) -> None:
    os.kill(worker.pid, signal.SIGHUP)
    await until(lambda: len(worker.events(event)) == times)


async def test_key_and_limits_are_taken_up_and_wrong_settings_are_not(
    deployment: Deployment, jina: JinaServer, tmp_path: Path
) -> None:
    settings, key_file = tmp_path / "streamdex.toml", tmp_path / "key"
    settings.write_text(f'[jina]\napi_key = "{FIRST_KEY}"\nrequests_per_minute = 60\n')
    await deployment.produce([message("one", "The first key is refused.")])
    # Variables come before the file, so the deployment's own key must not be one.
    variables = {"JINA_API_KEY": "", "STREAMDEX_CONFIG": str(settings)}
    async with deployment.worker(**variables) as worker:
        await until(lambda: jina.stats.responses[401] > 0)
        await until_allowed(worker, 50, 60)

        settings.write_text(f'[jina]\napi_key = "{SECOND_KEY}"\nrequests_per_minute = 6000\n')
        await told(worker, "worker.reloaded", 1)
        await until_allowed(worker, 5400, 6000)
        await deployment.settled()  # nobody else could have told it of a key that stood in no file of its own
        assert jina.stats.inputs_embedded == 1

        for wrong in ('[jina]\nrequests_per_minute = "many"\n', f'[jina]\napi_key_file = "{key_file}"\n', "[jina\n"):
            settings.write_text(wrong)
            before = len(worker.events("worker.reload_refused"))
            await told(worker, "worker.reload_refused", before + 1)
        assert len(worker.events("worker.reloaded")) == 1
        await deployment.produce([message("two", "The old settings stay.")])
        await deployment.settled()
        await until_allowed(worker, 5400, 6000)

        key_file.write_text(THIRD_KEY)
        settings.write_text(f'[jina]\napi_key_file = "{key_file}"\nrequests_per_minute = 600\n')
        refused = jina.stats.responses[401]
        await told(worker, "worker.reloaded", 2)
        await until_allowed(worker, 540, 600)
        await deployment.produce([message("three", "A key from a file is refused, until the file holds another.")])
        await until(lambda: jina.stats.responses[401] > refused)
        key_file.write_text(SECOND_KEY)
        await told(worker, "worker.reloaded", 3)
        await deployment.settled()
        assert await worker.stop() == 0
    assert await deployment.equals_the_fold()
    for key in (FIRST_KEY, SECOND_KEY, THIRD_KEY):
        assert key not in worker.log
