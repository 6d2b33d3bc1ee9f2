"""The connection: keys read anew, a probe after an outage, versions, URLs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.index import assert_holds, opened, put, settings_for
from streamdex.config import Settings
from streamdex.errors import AccountFault, ConfigurationError, ServiceFault
from streamdex.index.client.connection import Connection, require_version, target_of
from streamdex.model import Rank
from streamdex.standins.qdrant import EmbeddedQdrant, FaultKind, QdrantFault
from streamdex.telemetry import Metrics


async def test_a_rotated_key_is_taken_up_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    async with (
        EmbeddedQdrant(api_key="first") as server,
        opened(server, settings_for(server, api_key_file=file)) as index,
    ):
        server.api_key = "second"
        with pytest.raises(AccountFault, match="refuses the key"):
            await put(index, "1", 64, ["text"])
        file.write_text("second\n")
        with pytest.raises(AccountFault, match="refuses the key"):
            await put(index, "1", 64, ["text"])  # refused with the old key; the file is read because of that
        assert await put(index, "1", 64, ["text"]) is not None
        await assert_holds(index, "1", 64, ["text"])


async def test_a_key_file_that_vanishes_is_an_account_fault(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first")
    async with (
        EmbeddedQdrant(api_key="first") as server,
        opened(server, settings_for(server, api_key_file=file)) as index,
    ):
        server.api_key = "second"
        file.unlink()
        with pytest.raises(AccountFault, match="cannot be read"):
            await index.reader.manifests(["1"])


async def test_a_key_that_may_only_read() -> None:
    async with EmbeddedQdrant(api_key="all", read_only_api_key="read") as server:
        with pytest.raises(AccountFault, match="PERMISSION_DENIED") as caught:
            async with opened(server, settings_for(server, api_key="read")):
                pytest.fail("a collection was made with a read-only key")
        assert "read and write" in caught.value.fix
        async with opened(server, settings_for(server, api_key="all")):
            pass
        async with opened(server, settings_for(server, api_key="read"), create=False) as index:
            assert await index.reader.search(bytes(12) + b"\x00\x00\x80\x3f", 3) == []


async def test_no_key_in_any_fault() -> None:
    async with EmbeddedQdrant(api_key="right") as server:
        settings = settings_for(server, api_key="canary-of-a-key")
        with pytest.raises(AccountFault) as caught:
            async with opened(server, settings):
                pytest.fail("a wrong key was taken")
        assert "canary-of-a-key" not in f"{caught.value!r} {settings!r}"


async def test_during_an_outage_only_a_probe_is_sent(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        qdrant_server.faults.inject(QdrantFault(FaultKind.UNAVAILABLE))
        with pytest.raises(ServiceFault) as caught:
            await index.writer.delete_overtaken({"1": Rank(64)})
        assert caught.value.unanswered
        for _ in range(3):
            with pytest.raises(ServiceFault) as caught:
                await put(index, "1", 64, ["text"])
            assert not caught.value.unanswered
        assert qdrant_server.stats.requests["Points.UpdateBatch"] == 0
        assert qdrant_server.stats.requests["Qdrant.HealthCheck"] == 1 + 3
        qdrant_server.faults.heal()
        await put(index, "1", 64, ["text"])
        await assert_holds(index, "1", 64, ["text"])
        assert qdrant_server.stats.requests["Qdrant.HealthCheck"] == 1 + 4


async def test_connections_cut_and_taken_up_again(qdrant_server: EmbeddedQdrant) -> None:
    async with opened(qdrant_server) as index:
        await put(index, "1", 64, ["text"])
        await qdrant_server.reset_connections()
        for _ in range(20):
            try:
                await put(index, "1", 128, ["other"])
                break
            except ServiceFault:
                continue
        await assert_holds(index, "1", 128, ["other"])


@pytest.mark.parametrize(
    ("version", "works"),
    [
        ("1.16.0", True),
        ("1.18.3", True),
        ("2.0.0", True),
        ("v1.17.1-dev", True),
        ("1.15.5", False),
        ("0.9", False),
        ("unknown", False),
    ],
)
async def test_old_servers_are_refused(
    qdrant_server: EmbeddedQdrant, version: str, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection(settings_for(qdrant_server).qdrant, Metrics())
    try:

        async def health(*_: object, **__: object) -> object:
            return SimpleNamespace(version=version)

        monkeypatch.setattr(connection._client.qdrant, "HealthCheck", health)
        if works:
            await require_version(connection)
        else:
            with pytest.raises(ConfigurationError, match=r"1\.16 or newer"):
                await require_version(connection)
    finally:
        await connection.close()


@pytest.mark.parametrize("url", [":memory:", "ftp://canary-host", "http://"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Connection(Settings(qdrant={"url": url}).qdrant, Metrics())
    assert caught.value.where == "qdrant.url"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "target", "secure"),
    [
        ("https://cluster.example", "cluster.example:6334", True),
        ("http://localhost:6333", "localhost:6334", False),
        ("localhost", "localhost:6334", False),
        ("HTTPS://Cluster.example:443/path", "cluster.example:6334", True),
        ("http://[::1]:6333", "[::1]:6334", False),
    ],
)
async def test_target_and_tls_are_chosen_by_the_url(url: str, target: str, secure: bool) -> None:
    assert target_of(url, 6334) == (target, secure)
    connection = Connection(Settings(qdrant={"url": url, "api_key": "key"}).qdrant, Metrics())
    await connection.close()
    await connection.close()


async def test_a_rate_limit_at_the_question_for_the_version_is_a_fault_of_ours() -> None:
    async with EmbeddedQdrant() as server:
        server.faults.inject(
            QdrantFault(FaultKind.RATE_LIMITED, frozenset({"Qdrant.HealthCheck"}), times=1, retry_after_s=7)
        )
        connection = Connection(settings_for(server).qdrant, Metrics())
        with pytest.raises(ServiceFault) as caught:
            await require_version(connection)
        assert caught.value.retry_after_s == 7
        await require_version(connection)
        await connection.close()


async def test_an_answer_that_is_no_message_is_a_fault_of_the_service(
    qdrant_server: EmbeddedQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    async with opened(qdrant_server, metrics=metrics) as index:
        monkeypatch.setattr(qdrant_server.engine, "handle", lambda *_: Garbage())
        with pytest.raises(ServiceFault, match="cannot be read") as caught:
            await put(index, "1", 64, ["text"])
        assert caught.value.unanswered
        with pytest.raises(ServiceFault, match="cannot be read"):
            await index.ping()
        labels = {"service": "qdrant", "kind": "garbled"}
        assert metrics.registry.get_sample_value("streamdex_requests_failed_total", labels) == 2


class Garbage:
    """An answer whose bytes are cut off in the middle of a field."""

    def SerializeToString(self) -> bytes:  # noqa: N802  # as protobuf names it
        return b"\x0a\xff\xff\xff\x7f"
