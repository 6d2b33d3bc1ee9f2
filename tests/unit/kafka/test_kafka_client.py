"""How our Kafka clients connect, and whose fault an error is."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition, errors
from aiokafka.structs import OffsetAndMetadata

from streamdex.config import KafkaSettings
from streamdex.errors import AccountFault, ConfigurationError, ServiceFault
from streamdex.kafka.client import _REFUSALS, as_fault, at_start, client_options, committed_offsets, connection_fault
from streamdex.model import Partition

PASSWORD = "s3cret-password"


def options(**values: Any) -> dict[str, Any]:
    return client_options(KafkaSettings(**values))


def refusal(**values: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        options(**values)
    assert PASSWORD not in str(caught.value)
    assert caught.value.fix
    return caught.value


def test_plain_text_needs_no_more_than_addresses() -> None:
    assert options(bootstrap_servers="a:1,b:2") == {
        "bootstrap_servers": "a:1,b:2",
        "client_id": "streamdex",
        "security_protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize("addresses", ["a:b", "", ",", "a:1,,"])
def test_addresses_that_cannot_be_read(addresses: str) -> None:
    assert refusal(bootstrap_servers=addresses).where == "kafka.bootstrap_servers"


def test_sasl_takes_user_and_password() -> None:
    found = options(
        security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512", sasl_username="u", sasl_password=PASSWORD
    )
    assert (found["sasl_mechanism"], found["sasl_plain_username"], found["sasl_plain_password"]) == (
        "SCRAM-SHA-512",
        "u",
        PASSWORD,
    )


def test_a_rotated_password_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "password"
    settings = KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_username="u", sasl_password_file=file)
    for password in ("one", "two"):
        file.write_text(password)
        assert client_options(settings)["sasl_plain_password"] == password


@pytest.mark.parametrize("missing", [{}, {"sasl_username": "u"}, {"sasl_password": PASSWORD}])
def test_sasl_without_user_or_password(missing: dict[str, str]) -> None:
    assert refusal(security_protocol="SASL_PLAINTEXT", **missing).where == "kafka.sasl_username"


def test_tls_without_files_trusts_the_systems_authorities() -> None:
    assert isinstance(options(security_protocol="SSL")["ssl_context"], ssl.SSLContext)
    assert "ssl_context" not in options(security_protocol="PLAINTEXT")


@pytest.mark.parametrize("setting", ["ssl_cafile", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_missing_is_named_by_its_setting(setting: str, tmp_path: Path) -> None:
    assert refusal(security_protocol="SSL", **{setting: tmp_path / "none"}).where == f"kafka.{setting}"


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(PASSWORD)
    assert refusal(security_protocol="SSL", ssl_cafile=file).where == "kafka.ssl_cafile"
    both = refusal(security_protocol="SSL", ssl_certfile=file, ssl_keyfile=file)
    assert both.where == "kafka.ssl_certfile or kafka.ssl_keyfile"


@pytest.mark.parametrize("error", [each() for each in _REFUSALS if each is not errors.UnsupportedSaslMechanismError])
def test_what_a_person_must_mend(error: Exception) -> None:
    while_running, in_the_beginning = as_fault(error), at_start(error)
    assert isinstance(while_running, AccountFault)
    assert isinstance(in_the_beginning, ConfigurationError)
    assert in_the_beginning.fix in while_running.fix
    assert "Kafka" not in type(while_running).__name__


@pytest.mark.parametrize("kind", [errors.RequestTimedOutError, errors.KafkaConnectionError, errors.CommitFailedError])
def test_what_time_mends_is_told_by_its_type_alone(kind: type[Exception]) -> None:
    error = kind(PASSWORD)
    for fault in (as_fault(error), at_start(error)):
        assert isinstance(fault, ServiceFault)
        assert str(fault) == f"Kafka: {kind.__name__}"


async def test_why_no_broker_answers() -> None:
    fault = await connection_fault(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    assert str(fault) == "no broker at 127.0.0.1:1: ConnectionRefusedError"


async def test_an_answer_about_offsets_that_was_refused_as_a_whole_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aiokafka hands it on as one that tells of no partition."""
    at = TopicPartition("documents", 0)
    answers = [{}, {}, {at: OffsetAndMetadata(7, "")}]

    class Admin:
        def __init__(self, **_: object) -> None: ...

        async def start(self) -> None: ...

        async def close(self) -> None: ...

        async def list_consumer_group_offsets(self, _: str, partitions: object) -> object:
            assert partitions == [at]
            return answers.pop(0)

    monkeypatch.setattr("streamdex.kafka.client.AIOKafkaAdminClient", Admin)
    monkeypatch.setattr("streamdex.kafka.client.ASK_AGAIN_S", 0.0)
    assert await committed_offsets(KafkaSettings(), [Partition(*at)]) == {Partition(*at): 7}
    assert answers == []
