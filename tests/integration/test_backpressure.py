"""Back-pressure in small: 100 MB wait in Kafka while Qdrant is down. `make backpressure` is the same in earnest."""

from contextlib import AsyncExitStack
from pathlib import Path

from bench.documents import VALUE_BYTES, long_documents, short_documents
from chaos.proxy import LinkFault, Mode
from endurance.backpressure import ceiling_bytes
from endurance.findings import MIB
from endurance.place import beside
from endurance.probe import Probe
from harness.kafka import Kafka
from streamdex.index.write_queue import FULL_BYTES
from streamdex.run.dispatch import EMBED_QUEUE_INPUTS, PLAN_BYTES

INTAKE_BYTES = 16 * MIB
FIRST = 1_000
WAITING = 100_000_000 // VALUE_BYTES
DOWN_S = 5.0

LONG, SOME_OF_THEM = 400, 10  # documents of 62 KB
SHORT_CHUNK_TOKENS = 32
SHORT_CHUNK_BYTES = 96  # at the least, as the texts are
VECTOR_BYTES = 4 * 1024


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
        after = await probe.until(lambda sample: sample.settled >= FIRST + WAITING // 10 and sample.ready)

        assert down.hits
        assert all(sample.live and not sample.ready for sample in during)
        assert max(sample.open_bytes for sample in during) < 1.25 * INTAKE_BYTES  # one poll may go beyond
        assert max(sample.rss_bytes for sample in (*during, after)) <= ceiling_bytes(idle.rss_bytes, INTAKE_BYTES)
        assert (after.rebalances, after.restarts, after.dead_letters) == (idle.rebalances, 0, 0)
        assert await worker.stop() == 0


async def test_documents_of_many_short_chunks_do_not_become_vectors_all_at_once(kafka: Kafka, tmp_path: Path) -> None:
    """Their vectors weigh forty times their texts: 400 of them a gigabyte. Qdrant is the slow one here, by itself."""
    planned_at_once = EMBED_QUEUE_INPUTS + 2 * PLAN_BYTES // SHORT_CHUNK_BYTES  # a batch, and one document beyond it
    most = FULL_BYTES + planned_at_once * VECTOR_BYTES
    async with AsyncExitStack() as opened:
        place = await beside(opened, kafka, tmp_path)
        settings = {"STREAMDEX_CHUNK__MAX_TOKENS": str(SHORT_CHUNK_TOKENS)}
        worker = await opened.enter_async_context(place.worker(through_links=False, **settings))
        probe = await opened.enter_async_context(Probe(worker))
        await probe.begun()
        await place.feed(long_documents(0, LONG))
        waiting = [0]
        while (await probe.sample()).settled < SOME_OF_THEM or not waiting[-1]:
            waiting.append((await probe.status())["queues"]["write"]["bytes"])
        assert max(waiting) <= most
        assert await worker.stop() in (0, 3)  # the drain is cut where the machine is slow
