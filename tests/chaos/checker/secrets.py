"""I8: no secret, nothing a user wrote, in logs, metrics, status answers and dead letters' own headers."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from chaos.checker.dead_letters import Letter
from chaos.checker.report import Report


def check_secrets(canaries: Sequence[str], files: Iterable[Path], dead_letters: Iterable[Letter]) -> Report:
    """Look for each canary, as it is or in a usual disguise. A find names the canary by its number alone."""
    report = Report()
    looked_at = 0
    for file in files:
        content = file.read_bytes().lower()
        looked_at += len(content)
        for number in found_in(content, canaries):
            report.violate("I8", "a secret stands in a file", file=file.name, canary=number)
    for dead_letter in dead_letters:
        content = "\n".join(f"{name}: {value}" for name, value in dead_letter.own.items()).encode().lower()
        for number in found_in(content, canaries):
            report.violate(
                "I8", "a secret stands in a dead letter's own headers", place=dead_letter.place, canary=number
            )
    if not canaries:
        report.violate("I8", "there are no canaries to look for")
    report.figures = {"canaries": len(canaries), "bytes": looked_at}
    return report


def found_in(content: bytes, canaries: Sequence[str]) -> Iterator[int]:
    """The numbers of the canaries that stand in bytes, which are in small letters."""
    for number, canary in enumerate(canaries):
        if any(form.lower() in content for form in _forms(canary)):
            yield number


def _forms(canary: str) -> Iterator[bytes]:
    raw = canary.encode()
    yield raw
    yield quote(canary, safe="").encode()
    yield raw.hex().encode()
    for shift in range(3):  # base64 depends on where it begins; its first and last characters on the neighbours
        encoded = base64.b64encode(b"\x00" * shift + raw)
        yield encoded[4 if shift else 0 : (shift + len(raw)) * 8 // 6]
