"""No secret and nothing of a document in what the commands print, whatever goes wrong (`Cli` looks at every output).

Every failure here happens with marked keys, a marked question, a marked document and a marked event.
"""

import json
import uuid
from pathlib import Path

import httpx
import pytest

from harness.cli import MARK, Cli, Services

DOCUMENT = f"document-{MARK}"
QUESTION = f"what is a {MARK}?"
EVENT = json.dumps({"id": DOCUMENT, "text": f"a text on the {MARK}", "metadata": {MARK: MARK}})
WRONG_KEYS = {"jina__api_key": f"jina_{MARK}_wrong", "qdrant__api_key": f"qdrant_{MARK}_wrong"}
UNUSABLE_KEYS = {"jina__api_key": f"jina {MARK}\n", "qdrant__api_key": f"qdrant\n{MARK}"}
SASL = {
    "kafka__security_protocol": "SASL_PLAINTEXT",
    "kafka__sasl_username": f"user-{MARK}",
    "kafka__sasl_password": f"password-{MARK}",
}
JINA_FAULTS = [
    ("status", "400"),
    ("status", "401"),
    ("status", "403"),
    ("status", "422"),
    ("status", "429"),
    ("status", "500"),
    ("html", "200"),
    ("html", "502"),
    ("truncated-json", ""),
    ("wrong-count", "2"),
    ("wrong-dimension", ""),
    ("nan", ""),
    ("reset", ""),
]
QDRANT_FAULTS = ["unauthenticated", "permission_denied", "unavailable", "internal", "reset"]


@pytest.fixture
def topic(services: Services) -> str:
    """A topic of the test's own, and its collection's name."""
    name = f"secrets-{uuid.uuid4().hex[:8]}"
    services.create_topic(f"{name}.dlq")
    return services.create_topic(name)


@pytest.fixture
def event(tmp_path: Path) -> str:
    file = tmp_path / "event.json"
    file.write_text(EVENT)
    return str(file)


@pytest.mark.parametrize("keys", [WRONG_KEYS, UNUSABLE_KEYS], ids=["wrong", "unusable"])
def test_keys_that_are_refused(keys: dict[str, str], cli: Cli, services: Services, topic: str, event: str) -> None:
    environment = services.environment(topic, topic, **keys)
    for arguments in (("check",), ("search", QUESTION), ("explain", DOCUMENT, "--event", event), ("verify",)):
        said = cli(*arguments, env=environment)
        assert said.exit_code == 2
        assert "fix" in said.out + said.err


def test_a_password_that_cannot_be_used(cli: Cli, services: Services, topic: str) -> None:
    """The broker here knows no SASL at all."""
    for arguments in (("check",), ("verify",)):
        said = cli(*arguments, env=services.environment(topic, topic, **SASL))
        assert said.exit_code != 0
        assert said.out + said.err


@pytest.mark.parametrize(("fault", "argument"), JINA_FAULTS)
def test_an_embedder_that_does_not_work(fault: str, argument: str, cli: Cli, services: Services, topic: str) -> None:
    environment = services.environment(topic, topic)
    injected = services.jina.inject(fault, argument)
    for arguments in (("check",), ("search", QUESTION)):
        assert cli(*arguments, env=environment).exit_code in (1, 2)
    assert injected.fired >= 2


@pytest.mark.parametrize("fault", QDRANT_FAULTS)
def test_a_store_that_does_not_work(fault: str, cli: Cli, services: Services, topic: str, event: str) -> None:
    environment = services.environment(topic, topic, qdrant__timeout_s="2")
    assert cli("check", "--create", env=environment).exit_code == 0
    faults = f"{services.qdrant_control}/_control/faults"
    order = {"kind": fault, "methods": ["Points"]}
    httpx.post(faults, json=order, trust_env=False).raise_for_status()
    commands = (("check",), ("search", QUESTION), ("explain", DOCUMENT, "--event", event), ("verify",))
    for arguments in commands:
        assert cli(*arguments, env=environment).exit_code in (1, 2)
    (fired,) = httpx.get(faults, trust_env=False).json()
    assert fired["fired"] >= len(commands)


def test_a_document_that_is_not_there(cli: Cli, services: Services, topic: str) -> None:
    environment = services.environment(topic, topic)
    assert cli("check", "--create", env=environment).exit_code == 0
    found = cli("search", QUESTION, "--json", env=environment)
    assert found.json == []
