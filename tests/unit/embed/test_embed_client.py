"""The client over real sockets: what is sent, what each kind of trouble becomes, and where the key never shows."""

import asyncio
import base64
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from streamdex.config import JinaSettings
from streamdex.embed.http.client import JinaClient
from streamdex.embed.http.errors import Busy
from streamdex.embed.models import resolve
from streamdex.errors import AccountFault, ConfigurationError, Reason, ServiceFault, StreamdexError, SuspectFault

KEY = "jina_canary_key_0123456789"
DIMENSION = 32
Handler = Callable[[bytes, bytes], bytes | None]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def reply(status: int, body: object, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"HTTP/1.1 {status} Any", f"content-length: {len(content)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def good(_head: bytes, body: bytes) -> bytes:
    vector = base64.b64encode(np.ones(DIMENSION, "<f4").tobytes()).decode()
    texts = orjson.loads(body)["input"]
    data = [{"index": place, "embedding": vector} for place in range(len(texts))]
    return reply(200, {"data": data, "usage": {"total_tokens": 3}})


class Server:
    """Answers HTTP by hand: `handler(head, body)` gives the raw answer, or None to hang up."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(length)
                self.heads.append(head)
                self.bodies.append(body)
                answer = self.handler(head, body)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port; its connections end with it."""
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.create_task(serve(reader, writer))] = writer

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task, writer in connections.items():
            task.cancel()
            writer.close()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in connections.values()), return_exceptions=True)


@asynccontextmanager
async def client_of(port: int, scheme: str = "http", **settings: Any) -> AsyncIterator[JinaClient]:
    jina = JinaSettings(
        **{"api_key": KEY, "base_url": f"{scheme}://127.0.0.1:{port}/v1", "dimensions": DIMENSION, **settings}
    )
    client = JinaClient(jina, resolve(jina))
    try:
        yield client
    finally:
        await client.close()


async def embed(client: JinaClient, *texts: str) -> list[bytes]:
    return (await client.embed(texts or ("hello",), {"model": "m"})).vectors


async def fault_from(handler: Handler, **settings: Any) -> StreamdexError:
    async with listening(Server(handler).serve) as port, client_of(port, **settings) as client:
        with pytest.raises(StreamdexError) as caught:
            await embed(client)
    return caught.value


async def test_what_goes_out() -> None:
    server = Server(good)
    async with listening(server.serve) as port, client_of(port) as client:
        assert len(await embed(client, "a", "é")) == 2
        assert len(await embed(client)) == 1
    head = server.heads[0].decode().lower()
    assert head.startswith("post /v1/embeddings http/1.1")
    assert f"authorization: bearer {KEY}" in head
    assert "content-type: application/json" in head
    assert "accept-encoding: identity" in head
    assert orjson.loads(server.bodies[0]) == {"model": "m", "input": ["a", "é"]}
    assert server.connections == 1  # kept alive


async def test_without_a_key_there_is_no_authorization() -> None:
    server = Server(good)
    async with listening(server.serve) as port, client_of(port, api_key=None) as client:
        await embed(client)
    assert b"authorization" not in server.heads[0].lower()


@pytest.mark.parametrize("address", ["/v1", "/v1/", "/v1/embeddings", "/v1/embeddings/"])
async def test_a_base_url_may_end_as_people_write_it(address: str) -> None:
    server = Server(good)
    async with listening(server.serve) as port, client_of(port, base_url=f"http://127.0.0.1:{port}{address}") as client:
        await embed(client)
    assert server.heads[0].startswith(b"POST /v1/embeddings HTTP")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    elsewhere = Server(good)
    async with listening(elsewhere.serve) as other:
        fault = await fault_from(lambda _head, _body: reply(status, b"", f"location: http://127.0.0.1:{other}/"))
    assert isinstance(fault, AccountFault)
    assert elsewhere.heads == []


async def test_an_error_answer_is_classified() -> None:
    refused = reply(400, {"detail": "no", "code": "INPUT_TOKEN_LIMIT_EXCEEDED"})
    assert isinstance(await fault_from(lambda _head, _body: refused), SuspectFault)
    busy = await fault_from(lambda _head, _body: reply(429, {"detail": "x"}, "Retry-After: 9"))
    assert isinstance(busy, Busy)
    assert busy.retry_after_s == 9.0


async def test_a_connection_closed_without_an_answer_may_be_an_inputs_doing() -> None:
    fault = await fault_from(lambda _head, _body: None)
    assert isinstance(fault, ServiceFault)
    assert not isinstance(fault, Busy)
    assert fault.unanswered


async def test_an_answer_that_breaks_off() -> None:
    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{"data": [')
        writer.close()

    async with listening(breaking) as port, client_of(port) as client:
        with pytest.raises(ServiceFault, match="broke"):
            await embed(client)


async def test_what_is_not_http() -> None:
    fault = await fault_from(lambda _head, _body: b"SSH-2.0-OpenSSH\r\n\r\n")
    assert isinstance(fault, ServiceFault)


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    endless = b'{"data": [' + b" " * 1_000_000
    fault = await fault_from(lambda _head, _body: b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + endless)
    assert isinstance(fault, SuspectFault)
    assert fault.reason is Reason.WRONG_ANSWER


async def test_silence_ends_at_the_read_limit() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent) as port, client_of(port, read_timeout_s=0.05) as client:
        with pytest.raises(ServiceFault, match="did not answer in time"):
            await embed(client)


async def test_an_answer_that_drips_for_ever_ends_at_the_attempts_limit() -> None:
    async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        try:
            while not writer.is_closing():  # each byte well within the read limit
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass

    async with listening(dripping) as port, client_of(port, read_timeout_s=0.1, connect_timeout_s=0.1) as client:
        with pytest.raises(ServiceFault, match="did not answer in time"):
            await embed(client)


async def test_nobody_listening_is_nobodys_input() -> None:
    async with listening(Server(good).serve) as port:
        pass
    async with client_of(port) as client:
        with pytest.raises(Busy, match="cannot be reached"):
            await embed(client)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


class Proxy:
    """A forward proxy: CONNECT tunnels; anything else is answered by `good`, as if it had been fetched."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        if self.status != 200:
            writer.write(reply(self.status, b"refused"))
            writer.close()
            return
        if method == b"CONNECT":
            host, _, port = target.decode().rpartition(":")
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                await asyncio.gather(_forward(reader, there_writer), _forward(there_reader, writer))
            finally:
                there_writer.close()
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        writer.write(good(head, await reader.readexactly(length)))
        writer.close()


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


# The transport makes a proxy's credentials in a way that aiohttp 4 will not have; it works in all versions we allow.
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The 'proxy_auth' parameter is deprecated:DeprecationWarning")
async def test_http_proxy_is_honoured(no_proxy: pytest.MonkeyPatch) -> None:
    proxy = Proxy()
    async with listening(proxy.serve) as port:
        no_proxy.setenv("HTTP_PROXY", f"http://user:word@127.0.0.1:{port}")
        async with client_of(1, base_url="http://embeddings.invalid/v1") as client:
            assert len(await embed(client)) == 1
    head = proxy.heads[0].decode()
    assert head.startswith("POST http://embeddings.invalid/v1/embeddings HTTP/1.1")
    assert base64.b64encode(b"user:word").decode() in head


async def test_no_proxy_is_honoured(no_proxy: pytest.MonkeyPatch) -> None:
    no_proxy.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    no_proxy.setenv("NO_PROXY", "127.0.0.1")
    async with listening(Server(good).serve) as port, client_of(port) as client:
        assert len(await embed(client)) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for 127.0.0.1, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    try:
        subprocess.run(  # noqa: S603 - no outside input
            [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed: no certificate to test with")
    (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return folder / "both.pem"


@asynccontextmanager
async def tls_server(certificate: Path) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with listening(Server(good).serve, tls=context) as port:
        yield port


@pytest.mark.usefixtures("no_proxy")
async def test_an_own_authority_is_trusted_by_ca_file(certificate: Path) -> None:
    async with tls_server(certificate) as port:
        async with client_of(port, "https", ca_file=certificate.with_name("cert.pem")) as client:
            assert len(await embed(client)) == 1
        async with client_of(port, "https") as client:
            with pytest.raises(Busy):
                await embed(client)


async def test_https_goes_through_the_proxys_tunnel_with_ca_file(
    certificate: Path, no_proxy: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    async with tls_server(certificate) as port, listening(proxy.serve) as proxy_port:
        no_proxy.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        async with client_of(port, "https", ca_file=certificate.with_name("cert.pem")) as client:
            assert len(await embed(client)) == 1
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{port} HTTP".encode())
    assert KEY.encode() not in proxy.heads[0]


@pytest.mark.parametrize(("status", "kind"), [(407, AccountFault), (403, AccountFault), (502, Busy)])
async def test_a_proxy_that_refuses_the_tunnel(
    status: int, kind: type[StreamdexError], no_proxy: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(status)
    async with listening(proxy.serve) as port:
        no_proxy.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        async with client_of(1, "https") as client:
            with pytest.raises(kind):
                await embed(client)
    assert proxy.heads


def test_a_ca_file_that_holds_nothing_is_a_configuration_error(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    for path in (empty, tmp_path / "missing.pem"):
        jina = JinaSettings(ca_file=path)
        with pytest.raises(ConfigurationError) as caught:
            JinaClient(jina, resolve(jina))
        assert caught.value.where == "jina.ca_file"
        empty.write_text("no certificate")


@pytest.mark.parametrize("key", ["with blank in it", "line\nbreak", "käse", "x" * 5000])
def test_a_key_that_no_header_carries_is_refused_unquoted(key: str) -> None:
    jina = JinaSettings.model_validate({"api_key": key})
    with pytest.raises(ConfigurationError) as caught:
        JinaClient(jina, resolve(jina))
    assert caught.value.where == "jina.api_key"
    assert key not in str(caught.value)


async def test_the_key_is_read_anew_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    server = Server(good)
    async with listening(server.serve) as port, client_of(port, api_key=None, api_key_file=file) as client:
        assert not client.reread_key()
        file.write_text("second\n")
        assert client.reread_key()
        await embed(client)
        file.unlink()
        assert not client.reread_key()
        await embed(client)
    assert all(b"Bearer second" in head for head in server.heads)


TROUBLE: dict[str, Handler] = {
    "refused": lambda _head, _body: reply(401, {"detail": f"Invalid API key {KEY}", "code": "AUTH_INVALID_API_KEY"}),
    "echoed": lambda _head, body: reply(422, {"detail": body.decode() + KEY, "errors": [{"type": KEY, "input": KEY}]}),
    "html": lambda _head, _body: reply(502, f"<html>{KEY}</html>".encode()),
    "wrong": lambda _head, _body: reply(200, {"data": [{"index": 0, "embedding": KEY}]}),
    "closed": lambda _head, _body: None,
    "no http": lambda _head, _body: f"{KEY}\r\n\r\n".encode(),
    "own header": lambda _head, _body: reply(429, {"detail": KEY}, f"retry-after: {KEY}"),
}


@pytest.mark.parametrize("handler", TROUBLE.values(), ids=TROUBLE)
async def test_the_key_shows_nowhere(handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []
    async with listening(Server(handler).serve) as port, client_of(port) as client:
        try:
            await embed(client, "private text")
        except StreamdexError as fault:
            error: BaseException | None = fault
            while error is not None:  # what a logged traceback would show
                seen += [str(error), repr(error), error.args, vars(error)]
                error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        seen.append(repr(client))
    seen.append(caplog.text)
    shown = "".join(str(each) for each in seen)
    assert seen[0]
    assert KEY not in shown
    assert "private text" not in shown
