"""`streamdex check` against embedded services: what is well, and for all that may be wrong a line with its fix."""

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from importlib import import_module

import httpx
import pytest
from confluent_kafka import Producer

from harness.cli import JINA_KEY, MARK, Cli, CommandResult, Services, jina_in_a_thread
from streamdex.standins.jina import Options

CHECKS = ["settings", "kafka", "events", "dead letters", "jina", "qdrant"]


@pytest.fixture
def name() -> str:
    """For a topic and a collection of the test's own."""
    return f"check-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topic(name: str, services: Services) -> str:
    """A topic that is there, and its dead-letter topic as well."""
    services.create_topic(f"{name}.dlq")
    return services.create_topic(name)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else can while the test lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def the_one_wrong(said: CommandResult, check: str) -> str:
    """What stands in the only line that is wrong."""
    assert said.exit_code == 2
    found = said.lines
    assert [name for name, line in found.items() if not line["ok"]] == [check]
    assert found[check]["fix"]
    return f"{found[check]['message']} | {found[check]['fix']}"


def test_all_is_well(cli: Cli, services: Services, topic: str) -> None:
    said = cli("check", "--json", "--create", env=services.environment(topic, topic))
    assert said.exit_code == 0
    found = said.lines
    assert list(found) == CHECKS
    assert all(line["ok"] and not line["fix"] for line in found.values())
    assert "jina-embeddings-v3, 1024 dimensions, 500 requests" in found["settings"]["message"]
    assert f"{topic} with 4 partitions" in found["kafka"]["message"]
    assert f"{topic}.dlq with 4 partitions" in found["dead letters"]["message"]
    assert "embedded a word into 1024 dimensions" in found["jina"]["message"]
    assert f"collection {topic}" in found["qdrant"]["message"]
    again = cli("check", "--json", env=services.environment(topic, topic)).lines
    assert again == found


def produce(services: Services, topic: str, *records: tuple[str | None, str | None]) -> None:
    producer = Producer({"bootstrap.servers": services.kafka})
    for key, value in records:
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(30) == 0


def test_records_are_counted_by_what_they_mean(cli: Cli, services: Services, topic: str) -> None:
    mapping = {"mapping__id": "id", "mapping__text": "after.title"}
    rows = [(f'{{"id":{n}}}', json.dumps({"id": n, "after": {"title": f"note {n}"}})) for n in range(3)]
    produce(services, topic, *rows, ("1", None), ("k", "plain words"), ("9", '{"id": 9, "after": {}}'))
    said = cli("check", "--json", env=services.environment(topic, topic, **mapping))
    assert said.exit_code == 0
    message = said.lines["events"]["message"]
    assert message.startswith("3 documents, 1 delete, 1 cannot be read: the value is not JSON, from character 0 on")
    assert f"after.title is missing; a template may leave it out: {{after.title?}} ({topic}[0]@5)" in message


def test_a_mapping_that_fits_no_record_is_wrong(cli: Cli, services: Services, topic: str) -> None:
    produce(services, topic, ("1", '{"id": 1, "title": "a note"}'), ("1", None))
    said = cli("check", "--json", env=services.environment(topic, topic, mapping__id="id", mapping__text="body"))
    assert "no record has a document: 0 documents, 1 delete, 1 cannot be read: body is missing" in the_one_wrong(
        said, "events"
    )


def test_keys_that_do_not_name_their_documents_are_told(cli: Cli, services: Services, topic: str) -> None:
    produce(services, topic, ("tenant-1", '{"id": 1, "t": "a"}'), ("tenant-1", '{"id": 2, "t": "b"}'))
    said = cli("check", "--json", env=services.environment(topic, topic, mapping__id="id", mapping__text="t"))
    assert said.exit_code == 0
    assert "2 have keys that do not name them, so null values delete none" in said.lines["events"]["message"]


def test_a_mapping_that_cannot_work_is_refused_with_the_settings(cli: Cli, services: Services, topic: str) -> None:
    environment = services.environment(topic, topic, mapping__id="op = 'd'", mapping__text="t")
    said = cli("check", "--json", env=environment)
    assert said.exit_code == 2
    assert list(said.lines) == ["settings"]
    assert "the expression cannot be read: op ⟨here⟩= 'd' (mapping.id)" in said.lines["settings"]["message"]


def test_for_people_there_is_a_line_each_with_the_fix_below(cli: Cli, services: Services, topic: str) -> None:
    said = cli("check", env=services.environment(topic, topic, jina__api_key=f"jina_{MARK}_wrong"))
    assert said.exit_code == 2
    marked = [line[0] for line in said.out.splitlines() if not line.startswith(" ")]
    assert marked == ["✓", "✓", "✓", "✓", "✗", "✓"]
    assert "fix: Put a valid key in jina.api_key" in said.out
    assert "Traceback" not in said.out + said.err


def test_before_the_first_worker_the_collection_need_not_be_there(cli: Cli, services: Services, topic: str) -> None:
    for _ in range(2):
        said = cli("check", "--json", env=services.environment(topic, topic))
        assert said.exit_code == 0
        assert f"the worker will make the collection {topic}" in said.lines["qdrant"]["message"]


def test_wrong_settings_are_the_only_line_and_are_not_waited_for(cli: Cli, services: Services, topic: str) -> None:
    said = cli("check", "--json", "--wait", "600", env=services.environment(topic, jina__model="jina-embeddings-v9"))
    assert list(said.lines) == ["settings"]
    assert "Known: jina-embeddings-v3," in the_one_wrong(said, "settings")


def test_a_missing_topic(cli: Cli, services: Services, topic: str) -> None:
    missing = f"{topic}-2"
    said = cli("check", "--json", "--create", env=services.environment(f"{topic},{missing}", topic))
    told = the_one_wrong(said, "kafka")
    assert f"the topic {missing} is not there (kafka.topics)" in told
    assert "kafka-topics --create" in told
    assert missing not in services.topics()


def test_a_missing_dead_letter_topic_is_told_or_made(cli: Cli, services: Services, name: str) -> None:
    services.create_topic(name)
    environment = services.environment(name, name)
    told = the_one_wrong(cli("check", "--json", env=environment), "dead letters")
    assert f"the dead-letter topic {name}.dlq is not there" in told
    assert "streamdex check --create" in told
    assert f"{name}.dlq" not in services.topics()
    made = cli("check", "--json", "--create", env=environment)
    assert made.exit_code == 0
    assert "created" in made.lines["dead letters"]["message"]
    assert f"{name}.dlq" in services.topics()
    assert cli("check", "--json", env=environment).exit_code == 0


def test_kafka_down(cli: Cli, services: Services, topic: str, closed_port: int) -> None:
    address = f"127.0.0.1:{closed_port}"
    said = cli("check", "--json", env=services.environment(topic, topic, kafka__bootstrap_servers=address))
    assert said.exit_code == 2
    found = said.lines
    assert [check for check, line in found.items() if not line["ok"]] == ["kafka", "dead letters"]
    assert f"no broker at {address}" in found["kafka"]["message"]
    assert "check the address" in found["kafka"]["fix"]


def test_jina_down(cli: Cli, services: Services, topic: str, closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}/v1"
    told = the_one_wrong(cli("check", "--json", env=services.environment(topic, jina__base_url=url)), "jina")
    assert "Jina cannot be reached" in told


def test_jina_refuses_the_key(cli: Cli, services: Services, topic: str) -> None:
    told = the_one_wrong(
        cli("check", "--json", env=services.environment(topic, jina__api_key=f"jina_{MARK}_wrong")), "jina"
    )
    assert "AUTH_INVALID_API_KEY" in told
    assert "jina.api_key" in told


@pytest.mark.parametrize(
    ("fault", "argument", "said"),
    [
        ("status", "402", "Jina answered 402"),
        ("status", "503", "Jina answered 503"),
        ("html", "200", "it is not JSON"),
        ("wrong-dimension", "", "the answer is wrong"),
        ("reset", "", "connection"),
    ],
)
def test_jina_does_not_work(fault: str, argument: str, said: str, cli: Cli, services: Services, topic: str) -> None:
    injected = services.jina.inject(fault, argument)
    told = the_one_wrong(cli("check", "--json", env=services.environment(topic)), "jina")
    assert said in told
    assert injected.fired == 1


def test_qdrant_down(cli: Cli, services: Services, topic: str, closed_port: int) -> None:
    environment = services.environment(topic, qdrant__grpc_port=str(closed_port), qdrant__timeout_s="2")
    assert "Qdrant cannot be reached" in the_one_wrong(cli("check", "--json", env=environment), "qdrant")


def test_qdrant_refuses_the_key(cli: Cli, services: Services, topic: str) -> None:
    environment = services.environment(topic, qdrant__api_key=f"qdrant_{MARK}_wrong")
    told = the_one_wrong(cli("check", "--json", env=environment), "qdrant")
    assert "Qdrant refuses the key" in told
    assert "qdrant.api_key" in told


@pytest.mark.parametrize(
    ("kind", "said"), [("permission_denied", "does not grant the key"), ("unavailable", "cannot be reached")]
)
def test_qdrant_does_not_work(kind: str, said: str, cli: Cli, services: Services, topic: str) -> None:
    faults = f"{services.qdrant_control}/_control/faults"
    httpx.post(faults, json={"kind": kind, "methods": ["Collections"]}, trust_env=False).raise_for_status()
    assert said in the_one_wrong(cli("check", "--json", env=services.environment(topic, topic)), "qdrant")
    (fault,) = httpx.get(faults, trust_env=False).json()
    assert fault["fired"] > 0


def test_a_collection_of_other_dimensions(cli: Cli, services: Services, topic: str) -> None:
    assert cli("check", "--create", env=services.environment(topic, topic)).exit_code == 0
    said = cli("check", "--json", env=services.environment(topic, topic, jina__dimensions="256"))
    told = the_one_wrong(said, "qdrant")
    assert "the collection holds vectors of 1024 dimensions, the model makes 256" in told
    assert "run streamdex reindex" in told


def test_a_collection_of_another_task(cli: Cli, services: Services, topic: str) -> None:
    assert cli("check", "--create", env=services.environment(topic, topic)).exit_code == 0
    said = cli("check", "--json", env=services.environment(topic, topic, jina__task="separation"))
    told = the_one_wrong(said, "qdrant")
    assert "task" in told


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--wait` looks again at once. (By its full name the module is hidden by the command of the same name.)"""
    monkeypatch.setattr(import_module("streamdex.cli.check"), "RETRY_S", 0.1)


@pytest.mark.usefixtures("hasty")
def test_wait_ends_when_the_service_comes_up(cli: Cli, services: Services, topic: str) -> None:
    checked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        coming_up = threading.Thread(target=_come_up_later, args=(listener, checked))
        coming_up.start()
        url = f"http://127.0.0.1:{port}/v1"
        try:
            said = cli("check", "--wait", "60", env=services.environment(topic, topic, jina__base_url=url))
        finally:
            checked.set()
            coming_up.join()
    assert said.exit_code == 0
    assert "waiting: jina: Jina " in said.err
    assert said.out.count("✓") == len(CHECKS)


def _come_up_later(listener: socket.socket, checked: threading.Event) -> None:
    """Turn the first client away; serve all that come after it, until the check has ended."""
    with listener:
        first, _ = listener.accept()
        first.close()
        port = listener.getsockname()[1]
    with jina_in_a_thread(Options(port=port, api_key=JINA_KEY)):
        assert checked.wait(60)


@pytest.mark.usefixtures("hasty")
def test_wait_ends_when_its_time_is_over(cli: Cli, services: Services, topic: str) -> None:
    said = cli(
        "check", "--json", "--wait", "0.5", env=services.environment(topic, topic, jina__api_key=f"jina_{MARK}_wrong")
    )
    assert "AUTH_INVALID_API_KEY" in the_one_wrong(said, "jina")
