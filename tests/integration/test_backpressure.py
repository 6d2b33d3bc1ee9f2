"""Back-pressure in small: 100 MB wait in Kafka while Qdrant is down. `make backpressure` is the same in earnest."""

from contextlib import AsyncExitStack
from pathlib import Path

from chaos.proxy import LinkFault, Mode
from endurance.backpressure import ceiling_bytes
from endurance.findings import MIB
from endurance.place import beside
from endurance.probe import Probe
from kafka_tools import Kafka

from bench.documents import VALUE_BYTES, short_documents

INTAKE_BYTES = 16 * MIB
FIRST = 1_000
WAITING = 100_000_000 // VALUE_BYTES
DOWN_S = 5.0


async def test_an_outage_of_qdrant_holds_what_is_held_and_nothing_more(kafka: Kafka, tmp_path: Path) -> None:
    async with AsyncExitStack() as opened:
        place = await beside(opened, kafka, tmp_path)
        settings = {"STREAMDEX_WORKER__INTAKE_BYTES": str(INTAKE_BYTES)}
        worker = await opened.enter_async_context(place.worker(through_links=True, **settings))
        probe = await opened.enter_async_context(Probe(worker))
        idle = await probe.begun()
        await place.feed(short_documents(0, FIRST))
        await probe.until(lambda sample: sample.settled == FIRST)

        down = LinkFault(Mode.DROP)
        place.qdrant.set(down)
        await place.feed(short_documents(FIRST, WAITING))
        await probe.until(lambda sample: sample.open_bytes >= INTAKE_BYTES and not sample.ready)
        during = await probe.watch(DOWN_S, 0.5, lambda _: None)
        place.qdrant.heal(down)
        after = await probe.until(lambda sample: sample.settled >= FIRST + WAITING // 4 and sample.ready)

        assert down.hits
        assert all(sample.live and not sample.ready for sample in during)
        assert max(sample.open_bytes for sample in during) < 1.25 * INTAKE_BYTES  # one poll may go beyond
        assert max(sample.rss_bytes for sample in (*during, after)) <= ceiling_bytes(idle.rss_bytes, INTAKE_BYTES)
        assert (after.rebalances, after.restarts, after.dead_letters) == (idle.rebalances, 0, 0)
        assert await worker.stop() == 0
