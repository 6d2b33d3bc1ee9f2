"""`python -m streamdex.standins.qdrant`: the server as a process of its own, until SIGTERM or SIGINT.

Prints one line of JSON with both ports once it listens.
"""

import argparse
import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from streamdex.standins.qdrant.control import control_app
from streamdex.standins.qdrant.server import EmbeddedQdrant


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m streamdex.standins.qdrant", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6334, help="for gRPC; 0 picks a free one")
    parser.add_argument("--control-port", type=int, default=0, help="for faults and figures over HTTP")
    parser.add_argument("--directory", type=Path, help="keeps the data across starts")
    parser.add_argument("--api-key", help="asked for when given")
    parser.add_argument("--reorder-s", type=float, default=0.0, help="delays each request at random up to this")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    server = EmbeddedQdrant(
        host=arguments.host,
        port=arguments.port,
        api_key=arguments.api_key,
        directory=arguments.directory,
        seed=arguments.seed,
        reorder_s=arguments.reorder_s,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn takes the signals, returns on the first, and raises it again: by then it must not kill.
        signal.signal(number, lambda *_: None)
    async with server:
        with socket.create_server((arguments.host, arguments.control_port)) as listener:
            ports = {"grpc_port": server.port, "control_port": listener.getsockname()[1]}
            sys.stdout.write(json.dumps(ports) + "\n")
            sys.stdout.flush()
            await uvicorn.Server(uvicorn.Config(control_app(server), log_config=None)).serve([listener])


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
