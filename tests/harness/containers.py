"""Images for tests that prefer a container. No pytest in here."""

import gc
import warnings
from collections.abc import Callable

import docker
from docker.errors import DockerException


class NoContainerError(RuntimeError):
    """Docker does not answer, or the image cannot be had."""


def ensure_image(image: str, say: Callable[[str], object]) -> None:
    """Make sure that Docker answers and has the image; pulls it where it can. Raises NoContainerError."""
    with warnings.catch_warnings():
        # Where nobody listens, the docker library leaves its socket to the garbage collector, which is made to warn
        # here and not in the middle of whichever test comes next.
        warnings.simplefilter("ignore", ResourceWarning)
        why = _ensure(image, say)
        gc.collect()
    if why:
        raise NoContainerError(why)


def _ensure(image: str, say: Callable[[str], object]) -> str | None:
    """Why it cannot be had, or None."""
    try:
        client = docker.from_env(timeout=10)
    except DockerException:
        return "Docker does not answer"
    try:
        if not client.images.list(image):
            say(f"Pulling {image}")
            client.images.pull(image)
    except DockerException:
        return f"Docker cannot get {image}"
    finally:
        client.close()
    return None
