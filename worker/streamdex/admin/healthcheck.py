"""`python -m streamdex.admin.healthcheck [livez|readyz]`: exits 0 when the worker beside it is alive (ready), else 1.

For container health checks, where there is no curl. It runs every few seconds, so it imports next to nothing. It takes
the admin server's address from `STREAMDEX_ADMIN__HOST` and `STREAMDEX_ADMIN__PORT` alone, not from a settings file.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

LIMIT_S = 4.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # a server that listens on every address


def main(path: str) -> int:
    """Ask, and write the answer to stdout, which container engines keep."""
    host = os.environ.get("STREAMDEX_ADMIN__HOST") or "127.0.0.1"
    port = int(os.environ.get("STREAMDEX_ADMIN__PORT") or 8080)
    connection = HTTPConnection(ANY_ADDRESS.get(host, host), port, timeout=LIMIT_S)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        sys.stdout.write(answer.read().decode())
    except (OSError, HTTPException) as error:
        sys.stdout.write(f"no answer at {host}, port {port}: {type(error).__name__}\n")
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or ("livez",)))
