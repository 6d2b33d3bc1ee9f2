"""Commands for tests: in the test's own process, which spares each one a start of several seconds.

The services they talk to run beside the test's event loop, since a command has one of its own: Kafka in process, Jina
in a thread, Qdrant in a process.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import confluent_kafka.admin
from typer.main import get_command
from typer.testing import CliRunner

from streamdex.cli import app
from streamdex.config import PREFIX
from streamdex.standins.jina import JinaServer, Options

MARK = "kakapo"  # in every secret here, and never in what a command prints
JINA_KEY = f"jina_{MARK}_right"
QDRANT_KEY = f"qdrant_{MARK}_right"
START_LIMIT_S = 60.0


def _commands_of(group: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        found |= _commands_of(command, f"{prefix}{name} ") if hasattr(command, "commands") else {prefix + name: command}
    return found


COMMANDS = _commands_of(get_command(app))
"""All commands, those of a group by both names."""


class CommandResult(NamedTuple):
    """How a command ended and what it printed."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)

    @property
    def lines(self) -> dict[str, dict[str, Any]]:
        """The lines of `streamdex check --json`, by what was checked."""
        return {line["check"]: line for line in self.json}


class Cli:
    """Runs `streamdex` with these arguments and nothing in its environment but what is given."""

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> CommandResult:
        """An exception that is not a command's way to end is raised. No command ever prints a secret of these tests."""
        wide = {"COLUMNS": "200", "NO_COLOR": "1", **(env or {})}
        result = CliRunner().invoke(app, arguments, env=wide, catch_exceptions=False, prog_name="streamdex")
        assert MARK not in (result.stdout + result.stderr).lower()
        return CommandResult(result.exit_code, result.stdout, result.stderr)


def kafka_alone(settings: Mapping[str, Any]) -> dict[str, str]:
    """An environment with these settings of section `kafka`, where Jina and Qdrant are not to be reached."""
    return {f"{PREFIX}KAFKA__{name.upper()}": str(value) for name, value in settings.items()} | {
        f"{PREFIX}JINA__API_KEY": JINA_KEY,
        f"{PREFIX}JINA__BASE_URL": "http://127.0.0.1:1/v1",
        f"{PREFIX}QDRANT__URL": "http://127.0.0.1:1",
        f"{PREFIX}QDRANT__GRPC_PORT": "1",
    }


class Services(NamedTuple):
    """The three services, all of them stand-ins, with keys."""

    kafka: str
    jina: JinaServer
    qdrant_port: int
    qdrant_control: str

    def environment(self, topic: str, collection: str = "documents", **settings: str) -> dict[str, str]:
        """The variables with which a command reaches them; `jina__model="…"` and the like change or add some."""
        changes = {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
        return {
            "STREAMDEX_KAFKA__BOOTSTRAP_SERVERS": self.kafka,
            "STREAMDEX_KAFKA__TOPICS": topic,
            "STREAMDEX_JINA__API_KEY": JINA_KEY,
            "STREAMDEX_JINA__BASE_URL": self.jina.base_url,
            "STREAMDEX_QDRANT__URL": "http://127.0.0.1",
            "STREAMDEX_QDRANT__API_KEY": QDRANT_KEY,
            "STREAMDEX_QDRANT__GRPC_PORT": str(self.qdrant_port),
            "STREAMDEX_QDRANT__COLLECTION": collection,
            **changes,
        }

    def create_topic(self, name: str) -> str:
        """Create a topic by asking for it."""
        client = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.kafka})
        client.list_topics(name, timeout=10)
        return name

    def topics(self) -> set[str]:
        """The topics that there are."""
        client = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.kafka})
        return set(client.list_topics(timeout=10).topics)


@contextmanager
def jina_in_a_thread(options: Options) -> Iterator[JinaServer]:
    """The stand-in for Jina with an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = JinaServer(options)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(START_LIMIT_S)
        yield server
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(START_LIMIT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def qdrant_process(*arguments: str) -> Iterator[dict[str, int]]:
    """The stand-in for Qdrant as a process; gives its ports."""
    command = (sys.executable, "-m", "streamdex.standins.qdrant", "--port", "0", *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own arguments
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
