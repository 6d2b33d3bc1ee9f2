"""`streamdex serve-embeddings` as a process: what it says, how it ends, and a port that is taken."""

import asyncio
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process

import httpx
import pytest

PROGRAM = "from streamdex.cli import main; main()"


async def _start(*arguments: str) -> Process:
    command = ("-c", PROGRAM, "serve-embeddings", *arguments)
    return await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE)


async def _read_until(process: Process, pattern: str) -> str:
    """What it printed, up to and with the line that matches."""
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(60):
        while not re.search(pattern, seen):
            line = await process.stdout.readline()
            assert line, f"it ended after printing: {seen}"
            seen += line.decode()
    return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_what_it_is_serves_and_ends_cleanly(number: signal.Signals) -> None:
    one_a_minute = ("--requests-per-minute", "1", "--window", "sliding-log")  # whenever the minute turns
    process = await _start("--port", "0", "--api-key", "canary-key", *one_a_minute)
    said = await _read_until(process, "Ctrl-C")
    base_url = re.search(r"STREAMDEX_JINA__BASE_URL=(\S+)", said)
    assert base_url is not None
    assert "stand-in" in said
    assert "lexical" in said
    assert "1 requests/min, 2,000,000 tokens/min, 50 concurrent" in said
    body = {"model": "jina-embeddings-v3", "input": "a text"}
    async with httpx.AsyncClient(trust_env=False, headers={"authorization": "Bearer canary-key"}) as client:
        statuses = [(await client.post(f"{base_url[1]}/embeddings", json=body)).status_code for _ in range(2)]
    assert statuses == [200, 429]
    process.send_signal(number)
    rest, complaints = await process.communicate()
    assert process.returncode == 0
    assert b"Stopped after 2 requests, 1 texts embedded." in rest
    assert complaints == b""
    assert "canary" not in said + rest.decode()


async def test_a_port_in_use_is_said_in_one_line_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await _start("--port", str(port))
        _, complaint = await process.communicate()
    assert process.returncode == 2
    assert f"127.0.0.1:{port}" in complaint.decode()
    assert "Address already in use" in complaint.decode()
    assert "Traceback" not in complaint.decode()
