"""One real broker with a listener for each way that Kafka is secured, and the files and passwords for them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import confluent_kafka.admin
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from harness.kafka_broker import KafkaBroker, free_ports

USER = "alice"
PASSWORD = "kakapo-of-alice"
CLIENT = "client"  # who comes with a certificate
ANSWER_LIMIT_S = 30.0
_admin: Any = confluent_kafka.admin  # it does not say which of these names it exports

# Listener to the protocol it speaks. PLAINTEXT is the broker's own, as in every test broker.
LISTENERS = {
    "PLAINTEXT": "PLAINTEXT",
    "SASL": "SASL_PLAINTEXT",
    "TLS": "SSL",
    "MTLS": "SSL",
    "SASLTLS": "SASL_SSL",
}


class Right(NamedTuple):
    """What a user may do: `resource` and `operation` as ACLs name them."""

    resource: str
    name: str
    operation: str


class Files(NamedTuple):
    """PEM files: the authority of the broker, of a stranger; a client's certificate and key by each of the two."""

    authority: Path
    stranger: Path
    certificate: Path
    key: Path
    strange_certificate: Path
    strange_key: Path


class SecuredBroker(NamedTuple):
    """Where each listener of LISTENERS is, and the files."""

    addresses: Mapping[str, str]
    files: Files

    def settings(self, listener: str, **changes: Any) -> dict[str, Any]:
        """Settings of section `kafka` that are right for a listener, without topics; `changes` make them wrong."""
        protocol = LISTENERS[listener]
        found: dict[str, Any] = {"bootstrap_servers": self.addresses[listener], "security_protocol": protocol}
        if protocol.startswith("SASL"):
            found |= {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": USER, "sasl_password": PASSWORD}
        if protocol.endswith("SSL"):
            found["ssl_cafile"] = self.files.authority
        if listener == "MTLS":
            found |= {"ssl_certfile": self.files.certificate, "ssl_keyfile": self.files.key}
        return {name: value for name, value in {**found, **changes}.items() if value is not None}


@contextmanager
def secured_broker(directory: Path) -> Iterator[SecuredBroker]:
    """Starts it; blocks for some seconds. Raises KafkaStartError."""
    ports = dict(zip((*LISTENERS, "CONTROLLER"), free_ports(len(LISTENERS) + 1), strict=True))
    addresses = {name: f"127.0.0.1:{ports[name]}" for name in LISTENERS}
    broker_pem, files = _make_files(directory)
    broker = KafkaBroker(
        directory / "node", 1, ports["PLAINTEXT"], {1: ports["CONTROLLER"]}, _properties(ports, broker_pem, files)
    )
    try:
        broker.start()
        make_user(broker.bootstrap_servers, USER)
        yield SecuredBroker(addresses, files)
    finally:
        broker.stop()


def _properties(ports: Mapping[str, int], broker_pem: Path, files: Files) -> dict[str, str]:
    modules = "org.apache.kafka.common.security"
    plain = f'{modules}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    scram = f"{modules}.scram.ScramLoginModule required;"
    protocols = {**LISTENERS, "CONTROLLER": "PLAINTEXT"}
    return {
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
        "advertised.listeners": ",".join(f"{name}://127.0.0.1:{ports[name]}" for name in LISTENERS),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.sasl.plain.sasl.jaas.config": plain,
        "listener.name.sasl.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.sasltls.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasltls.scram-sha-512.sasl.jaas.config": scram,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(broker_pem),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(files.authority),
        "listener.name.mtls.ssl.client.auth": "required",
        # Whoever is not named here may do what was granted, and nothing else.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER};User:{CLIENT}",
        "ssl.principal.mapping.rules": f"RULE:^.*$/{CLIENT}/",  # any certificate's name
    }


def _make_files(directory: Path) -> tuple[Path, Files]:
    """The broker's own file (key and certificate), and those for clients."""
    ours, strange = trustme.CA(), trustme.CA()
    files = Files(*(directory / f"{name}.pem" for name in Files._fields))
    ours.cert_pem.write_to_path(files.authority)
    strange.cert_pem.write_to_path(files.stranger)
    for authority, certificate, key in (
        (ours, files.certificate, files.key),
        (strange, files.strange_certificate, files.strange_key),
    ):
        issued = authority.issue_cert("client@streamdex.test")
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
    broker_pem = directory / "broker.pem"
    issued = ours.issue_cert("127.0.0.1", "localhost")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    broker_pem.write_bytes(_pkcs8(issued.private_key_pem.bytes()) + chain)
    return broker_pem, files


def _pkcs8(key: bytes) -> bytes:
    """Kafka reads no other form of key."""
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_user(bootstrap_servers: str, user: str) -> None:
    """Someone with PASSWORD, for the SCRAM mechanisms."""
    admin = _client(bootstrap_servers)
    for mechanism in (_admin.ScramMechanism.SCRAM_SHA_256, _admin.ScramMechanism.SCRAM_SHA_512):
        credential = _admin.ScramCredentialInfo(mechanism, 4096)
        wanted = _admin.UserScramCredentialUpsertion(user, credential, PASSWORD.encode())
        _wait_for(admin.alter_user_scram_credentials([wanted]))


def grant(bootstrap_servers: str, user: str, rights: Collection[Right]) -> None:
    """Let a user do this, beside what is granted already."""
    admin = _client(bootstrap_servers)
    if rights:
        _wait_for(admin.create_acls([_acl(user, right) for right in rights]))


def _acl(user: str, right: Right) -> Any:
    return _admin.AclBinding(
        getattr(_admin.ResourceType, right.resource),
        right.name,
        _admin.ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        getattr(_admin.AclOperation, right.operation),
        _admin.AclPermissionType.ALLOW,
    )


def _client(bootstrap_servers: str) -> Any:
    return _admin.AdminClient({"bootstrap.servers": bootstrap_servers})  # aiokafka's can do neither


def _wait_for(answers: Mapping[Any, Any]) -> None:
    for answer in answers.values():
        answer.result(ANSWER_LIMIT_S)
