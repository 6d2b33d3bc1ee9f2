"""`streamdex verify`, as a person would run it after a bad day: a process with the deployment's environment."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

LIMIT_S = 300.0


async def run_verify(environment: Mapping[str, str], *, repair: bool) -> tuple[int, dict[str, Any]]:
    """Its exit code and what it reports. Raises RuntimeError where it reports nothing."""
    arguments = ["-m", "streamdex.cli", "verify", "--json", *(["--repair"] if repair else [])]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return process.returncode or 0, json.loads(out)
    except ValueError:
        last = err.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"verify ended with {process.returncode} and no report: {last}") from None
