"""`streamdex run`: the worker."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import typer

from streamdex.admin import AdminServer
from streamdex.cli.options import ConfigOption, SetOption, settings_from
from streamdex.cli.signals import stopped_by_signals
from streamdex.config import MEMORY_URL, Settings
from streamdex.errors import ConfigurationError, ExitCode
from streamdex.run.worker import Worker
from streamdex.telemetry import RELOAD_REFUSED, configure_logging, emit


def run(config_file: ConfigOption = None, overrides: SetOption = None) -> None:
    """Run the worker until SIGTERM or SIGINT; a second signal does not wait for what is in flight.

    Health, status and metrics are at http://127.0.0.1:8080/readyz, /livez, /status and /metrics (admin.port).

    SIGHUP reads the key and its limits (jina.api_key, jina.api_key_file, jina.limits, …) again, without a restart.
    Wrong settings change nothing, and the log says so.

    Exit codes: 0 stopped cleanly, 1 crashed, 2 configuration, 3 drain incomplete (nothing lost, some work is redone).

    Example: `JINA_API_KEY=… streamdex run --set kafka.topics=articles --set qdrant.collection=articles`
    """
    settings = settings_from(config_file, overrides)
    configure_logging(settings.worker.log_format, settings.worker.log_level)
    _tune_garbage_collection()
    left_undone = asyncio.run(_run(settings, lambda: settings_from(config_file, overrides)))
    raise typer.Exit(ExitCode.DRAIN_INCOMPLETE if left_undone else ExitCode.CLEAN)


def _tune_garbage_collection() -> None:
    """Make the garbage collector look at new objects less often, and never at those from before the start.

    Records live for a second and end without cycles. With its defaults the collector looks at them again and again,
    which takes a tenth of the worker's CPU. Rejected: a youngest generation of 20,000 objects, which are mostly records
    under way (5 % more CPU); 250,000 objects, or no collection at all, save nothing more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@asynccontextmanager
async def _reachable(settings: Settings) -> AsyncIterator[Settings]:
    """The settings as they are; or, for `:memory:`, with an engine of this process in front of them."""
    if settings.qdrant.url != MEMORY_URL:
        yield settings
        return
    from streamdex.standins.local import qdrant_for  # noqa: PLC0415  # 7 MiB of engines that only `:memory:` needs

    async with qdrant_for(settings) as reachable:
        yield reachable


async def _run(settings: Settings, read_again: Callable[[], Settings]) -> int:
    async with _reachable(settings) as reachable:
        worker = Worker(reachable, worker_name=f"{socket.gethostname()}-{os.getpid()}")
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, worker, read_again)
        with stopped_by_signals(worker.stop):
            # Open before the start, which may wait for services, and until after the stop: both can be watched.
            async with AdminServer(settings.admin, worker.metrics, worker.health_snapshot, worker.status):
                return await worker.run()


def _reload(worker: Worker, read_again: Callable[[], Settings]) -> None:
    try:
        worker.reload(read_again())
    except ConfigurationError as error:
        emit(RELOAD_REFUSED, reason=error.what, where=error.where, fix=error.fix)
