"""Valid inputs, damaged: by the byte, and in the places where JSON and its readers are known to break."""

import random
import re
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

DEEPEST = 3_000
MOST_DAMAGE = 6

_NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_STRING = re.compile(rb'"[^"\\]*"')
NUMBERS: tuple[bytes, ...] = (
    *(b"%d" % (sign * (2**power + step)) for power in (31, 53, 63, 64) for sign in (1, -1) for step in (-1, 0, 1)),
    *(b"0", b"-0", b"-0.0", b"1e400", b"-1e400", b"1e-400", b"0.1e1", b"1" * 20, b"9" * 400, b"7" * 5_000),
    *(b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"null", b"true", b'"7"', b"00", b"1.", b"+1", b"0x1f", b"1_0"),
)
_STRINGS = (
    *(
        b'""',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\\u0000"',
        b'"\x00"',
        b'"\xf4\x90\x80\x80"',
    ),
    *(b'"\\x"', b'"', b"'a'", b'"\xef\xbb\xbf"', b'"\\ud83d\\ude00"', b'"' + b"a" * 5_000 + b'"', b"[]", b"{}", b"1"),
)
_BYTES = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\n",
    b"\\",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\xe2\x80\xa8",
    b"%",
    b" " * 99,
)


def mutated(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the valid inputs, as it is or damaged in a few places."""
    return st.builds(lambda one, rng: damaged(one, valid, rng), st.sampled_from(valid), DICE)


# Seeded by Hypothesis, so that it can find the same input again; its own `randoms` would log every throw.
DICE = st.integers(0, 2**64 - 1).map(random.Random)


def damaged(one: bytes, valid: Sequence[bytes], rng: random.Random) -> bytes:
    """The input with damage in up to `MOST_DAMAGE` places, perhaps continued as another of the valid ones."""
    for _ in range(int((1 + MOST_DAMAGE) * rng.random() ** 3)):  # often little, or hardly any would get far
        one = _splice(one, rng.choice(valid), rng) if rng.random() < 0.05 else rng.choice(_WAYS)(one, rng)
    return one


def _flip(one: bytes, rng: random.Random) -> bytes:
    return _at(one, rng, lambda byte: bytes([byte ^ 1 << rng.randrange(8)]))


def _replace_byte(one: bytes, rng: random.Random) -> bytes:
    return _at(one, rng, lambda _: rng.randbytes(1))


def _at(one: bytes, rng: random.Random, change: Callable[[int], bytes]) -> bytes:
    if not one:
        return rng.randbytes(1)
    place = rng.randrange(len(one))
    return one[:place] + change(one[place]) + one[place + 1 :]


def _truncate(one: bytes, rng: random.Random) -> bytes:
    return one[: rng.randint(0, len(one))]


def _cut_out(one: bytes, rng: random.Random) -> bytes:
    start, stop = _slice(one, rng)
    return one[:start] + one[stop:]


def _double(one: bytes, rng: random.Random) -> bytes:
    start, stop = _slice(one, rng)
    return one[:stop] + one[start:stop] * rng.choice((1, 1, 2, 9)) + one[stop:]


def _insert(one: bytes, rng: random.Random) -> bytes:
    place = rng.randint(0, len(one))
    return one[:place] + rng.choice((*_BYTES, rng.randbytes(8))) + one[place:]


def _nest(one: bytes, rng: random.Random) -> bytes:
    """Wrap a value deep into lists or objects."""
    found = _pick(_STRING, one, rng) or _pick(_NUMBER, one, rng)
    start, stop = found or (0, len(one))
    levels = int(DEEPEST ** rng.random())
    left, right = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return one[:start] + left * levels + one[start:stop] + right * levels + one[stop:]


def _other_number(one: bytes, rng: random.Random) -> bytes:
    return _swap(_NUMBER, NUMBERS, one, rng)


def _other_string(one: bytes, rng: random.Random) -> bytes:
    return _swap(_STRING, _STRINGS, one, rng)


def _swap(what: re.Pattern[bytes], others: Sequence[bytes], one: bytes, rng: random.Random) -> bytes:
    start, stop = _pick(what, one, rng) or _slice(one, rng)
    return one[:start] + rng.choice(others) + one[stop:]


def _splice(one: bytes, other: bytes, rng: random.Random) -> bytes:
    return one[: rng.randint(0, len(one))] + other[rng.randint(0, len(other)) :]


def _slice(one: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(one))
    return start, min(len(one), start + int(64 * rng.random() ** 2))


def _pick(what: re.Pattern[bytes], one: bytes, rng: random.Random) -> tuple[int, int] | None:
    """Where a random match stands; looked for from a random place on, so as not to find all."""
    found = what.search(one, rng.randint(0, len(one))) or what.search(one)
    return found.span() if found else None


_WAYS = (
    *(_flip, _flip, _replace_byte, _truncate, _cut_out, _double, _insert, _nest),
    *(_other_number, _other_number, _other_string, _other_string),
)
