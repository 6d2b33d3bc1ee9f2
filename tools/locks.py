"""Makes the lock files in requirements/, and can say whether they are stale. `make lock` runs it.

The locks are universal (Python 3.11 to 3.13, Linux and macOS) and hold versions and hashes but no address, so that
they install from whatever index or mirror a machine uses. Each one records a digest of the dependency
tables it was made from: that shows staleness without asking any index.
"""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"

# What each lock is made from. `dev` comes first: the others are constrained by it, so that all agree on versions.
SOURCES = {
    "dev": ["pyproject.toml", "--group", "pyproject.toml:dev"],
    "run": ["pyproject.toml", "--constraints", "requirements/dev.lock"],
    "build": ["--group", "pyproject.toml:build", "--constraints", "requirements/dev.lock"],
}
PURPOSES = {
    "dev": "all that working on streamdex needs",
    "run": "what streamdex needs to run",
    "build": "what building the package needs",
}
DIGEST_PREFIX = "# dependency tables: sha256:"


def lock_path(name: str) -> Path:
    """Where the lock `name` (a key of SOURCES) stands."""
    return REQUIREMENTS / f"{name}.lock"


def dependency_digest(pyproject: str) -> str:
    """SHA-256, in hex, of everything in a pyproject.toml's text that decides the locks; comments do not count."""
    tables = tomllib.loads(pyproject)
    project = tables.get("project", {})
    deciding = {
        "build": tables.get("build-system", {}).get("requires"),
        "python": project.get("requires-python"),
        "dependencies": project.get("dependencies"),
        "extras": project.get("optional-dependencies"),
        "groups": tables.get("dependency-groups"),
        "uv": tables.get("tool", {}).get("uv"),
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def recorded_digest(lock: str) -> str | None:
    """The digest that a lock's text says it was made from; None when it says nothing."""
    for line in lock.splitlines():
        if line.startswith(DIGEST_PREFIX):
            return line.removeprefix(DIGEST_PREFIX)
    return None


def make_lock(name: str, digest: str, options: list[str]) -> None:
    """Resolve and write one lock. Versions stay as they are where they still fit, unless `options` has --upgrade."""
    path = lock_path(name)
    command = ["uv", "pip", "compile", *SOURCES[name], "--output-file", str(path), *options]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    # uv stands beside the interpreter that runs this, whether or not the environment is activated.
    path_variable = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PATH": path_variable})
    header = f"# {path.name}: {PURPOSES[name]}. Made by `make lock`; do not edit.\n{DIGEST_PREFIX}{digest}\n"
    entries = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#")]
    path.write_text(header + "".join(entries))


def main(options: list[str]) -> None:
    """Make all locks; `options` (such as --upgrade, --upgrade-package=NAME) go to uv."""
    digest = dependency_digest((ROOT / "pyproject.toml").read_text())
    REQUIREMENTS.mkdir(exist_ok=True)
    for name in SOURCES:
        sys.stdout.write(f"Resolving requirements/{name}.lock\n")
        sys.stdout.flush()
        make_lock(name, digest, options)


if __name__ == "__main__":
    main(sys.argv[1:])
