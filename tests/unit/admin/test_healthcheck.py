"""The containers' health check: 0 only for an answer of 200."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from streamdex.admin import healthcheck


class Handler(BaseHTTPRequestHandler):
    """Alive and not ready."""

    def do_GET(self) -> None:  # the name that http.server calls
        body = b'{"reasons": {}}'
        self.send_response(200 if self.path == "/livez" else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join()


EVERYWHERE = next(iter(healthcheck.ANY_ADDRESS))


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE, ""])
def test_what_the_worker_answers_decides(
    host: str, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMDEX_ADMIN__HOST", host)
    monkeypatch.setenv("STREAMDEX_ADMIN__PORT", str(port))
    assert healthcheck.main("livez") == 0
    assert healthcheck.main("readyz") == 1
    assert capsys.readouterr().out == '{"reasons": {}}' * 2


def test_no_answer_is_unhealthy_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMDEX_ADMIN__HOST", "127.0.0.1")
    monkeypatch.setenv("STREAMDEX_ADMIN__PORT", "1")
    assert healthcheck.main("livez") == 1
    assert "no answer at 127.0.0.1, port 1" in capsys.readouterr().out
