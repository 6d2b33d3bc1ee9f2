"""The lock files in requirements/: they fit pyproject.toml, carry hashes, and name no index. Needs no network."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools import locks

PYPROJECT = (locks.ROOT / "pyproject.toml").read_text()
TABLES = tomllib.loads(PYPROJECT)
NAMES = sorted(locks.SOURCES)


def entries(name: str) -> dict[str, list[str]]:
    """The lock's lines by package: `name==version ; marker` lines (several where markers differ) and their hashes."""
    found: dict[str, list[str]] = {}
    package = ""
    for line in locks.lock_path(name).read_text().splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            package = canonicalize_name(line.split("==")[0])
        found.setdefault(package, []).append(line.removesuffix("\\").strip())
    return found


def versions(name: str) -> dict[str, set[Version]]:
    """Package to its locked versions."""
    pins = {package: [line for line in lines if "==" in line] for package, lines in entries(name).items()}
    return {package: {Version(re.split(r"==|;", pin)[1]) for pin in found} for package, found in pins.items()}


def required(name: str) -> Iterator[Requirement]:
    """What pyproject.toml asks of the lock."""
    groups = TABLES["dependency-groups"]
    build = groups["build"]
    dev = [entry for entry in groups["dev"] if isinstance(entry, str)]
    product = TABLES["project"]["dependencies"]
    texts = {"build": build, "run": product, "dev": [*product, *build, *dev]}[name]
    return map(Requirement, texts)


@pytest.mark.parametrize("name", NAMES)
def test_lock_is_not_stale(name: str) -> None:
    recorded = locks.recorded_digest(locks.lock_path(name).read_text())
    assert recorded == locks.dependency_digest(PYPROJECT), f"requirements/{name}.lock is stale: run `make lock`"


@pytest.mark.parametrize("name", NAMES)
def test_lock_satisfies_every_requirement(name: str) -> None:
    locked = versions(name)
    for requirement in required(name):
        pinned = locked.get(canonicalize_name(requirement.name), set())
        assert pinned, f"{requirement.name} is not in requirements/{name}.lock: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in pinned), f"{requirement} is not satisfied"


@pytest.mark.parametrize("name", NAMES)
def test_every_pin_carries_hashes(name: str) -> None:
    for package, lines in entries(name).items():
        pins = [line for line in lines if not line.startswith("--hash")]
        hashes = [line for line in lines if re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line)]
        assert all(re.match(r"[A-Za-z0-9._-]+==[^ ;]+( ;.*)?$", pin) for pin in pins), package
        assert len(hashes) >= len(pins), f"{package} has no hash"
        assert len(pins) + len(hashes) == len(lines), f"{package} has lines of another kind"


@pytest.mark.parametrize("name", NAMES)
def test_lock_names_no_address(name: str) -> None:
    text = locks.lock_path(name).read_text()
    assert not re.search(r"://|\s@\s|--(extra-)?index-url|--find-links", text)


def test_locks_agree_on_versions() -> None:
    everything = versions("dev")
    for name in ("run", "build"):
        for package, pinned in versions(name).items():
            assert pinned == everything[package], f"{package} differs between {name}.lock and dev.lock"


def test_build_backend_is_locked() -> None:
    locked = versions("build")
    for text in TABLES["build-system"]["requires"]:
        backend = Requirement(text)
        assert all(backend.specifier.contains(version) for version in locked[canonicalize_name(backend.name)])


def test_digest_sees_dependencies_and_nothing_else() -> None:
    digest = locks.dependency_digest(PYPROJECT)
    assert locks.dependency_digest(PYPROJECT + "\n# a comment\n") == digest
    assert locks.dependency_digest(PYPROJECT.replace('version = "', 'version = "9')) == digest
    assert locks.dependency_digest(PYPROJECT.replace('"httpx>=0.28,<1"', '"httpx>=0.27,<1"')) != digest
    assert locks.dependency_digest(PYPROJECT.replace('"ruff>=0.14"', '"ruff>=0.15"')) != digest
    assert locks.dependency_digest(PYPROJECT.replace("sys_platform == 'darwin'", "sys_platform == 'win32'")) != digest


def test_lock_without_a_digest_is_stale() -> None:
    assert locks.recorded_digest("httpx==1.0\n") is None
