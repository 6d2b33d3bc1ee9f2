"""What is measured: the worker as users run it, and the script; each a process of its own."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.cores import move
from bench.neighbours import Neighbours, running
from bench.stubs.embeddings import LONG_FLOATS

# Far above what one core can do: what is measured is work, not waiting for a limit.
REQUESTS_PER_MINUTE = 10_000_000
TOKENS_PER_MINUTE = 1_000_000_000_000
PROFILE_LIMIT_S = 30.0


@contextmanager
def worker(place: Neighbours, topic: str, open_records: int, core: int | None) -> Iterator[psutil.Process]:
    """`streamdex run` on a topic, with group and collection of the same name, on a core; ended in order.

    `open_records` is its bound per partition.
    """
    command = [str(Path(sys.executable).with_name("streamdex")), "run"]
    with running(command, _settings(place, topic, open_records)) as process:
        move(process.pid, core)
        yield psutil.Process(process.pid)


class Sampled:
    """A worker that is sampled from `begin` to `end`; see `bench/sampled.py`."""

    def __init__(self, process: psutil.Process, output: Path) -> None:
        self.process = process
        self._output = output

    def begin(self) -> None:
        """Start sampling."""
        self.process.send_signal(signal.SIGUSR1)

    def end(self) -> bytes:
        """Stop sampling; the samples as JSON. Raises TimeoutError when they do not come."""
        self.process.send_signal(signal.SIGUSR1)
        deadline_s = time.monotonic() + PROFILE_LIMIT_S
        while not self._output.exists():
            if time.monotonic() > deadline_s:
                raise TimeoutError("the sampled worker wrote no samples")
            time.sleep(0.05)
        return self._output.read_bytes()


@contextmanager
def sampled_worker(
    place: Neighbours, topic: str, open_records: int, core: int | None, directory: Path
) -> Iterator[Sampled]:
    """The same worker under the sampler."""
    output = directory / "samples.json"
    with running(["-m", "bench.sampled", str(output), "run"], _settings(place, topic, open_records)) as process:
        move(process.pid, core)
        yield Sampled(psutil.Process(process.pid), output)


@contextmanager
def script(place: Neighbours, topic: str, core: int | None, *, long_floats: bool = False) -> Iterator[psutil.Process]:
    """The script on a topic; `long_floats`: its vectors come with 17 digits a number instead of 8."""
    variables = {
        "KAFKA": place.kafka.bootstrap_servers,
        "TOPIC": topic,
        "GROUP": topic,
        "JINA": f"http://127.0.0.1:{place.jina.port}{LONG_FLOATS if long_floats else ''}/v1",
        "QDRANT": f"http://127.0.0.1:{place.qdrant.port}",
    }
    with running(["-m", "bench.script"], variables) as process:
        move(process.pid, core)
        yield psutil.Process(process.pid)


def _settings(place: Neighbours, name: str, open_records: int) -> dict[str, str]:
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": place.kafka.bootstrap_servers,
        "KAFKA__TOPICS": name,
        "KAFKA__GROUP_ID": name,
        "JINA__API_KEY": "bench",
        "JINA__BASE_URL": f"http://127.0.0.1:{place.jina.port}/v1",
        "JINA__REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
        "JINA__TOKENS_PER_MINUTE": str(TOKENS_PER_MINUTE),
        "QDRANT__URL": f"http://127.0.0.1:{place.qdrant.port}",
        "QDRANT__GRPC_PORT": str(place.qdrant.grpc_port),
        "QDRANT__COLLECTION": name,
        "ADMIN__PORT": "0",
        "WORKER__OPEN_RECORDS": str(open_records),
        "WORKER__LOG_LEVEL": "warning",
    }
    return {f"STREAMDEX_{name}": value for name, value in settings.items()}
