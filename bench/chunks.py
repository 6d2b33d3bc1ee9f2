"""How documents of all kinds are cut, and the CPU it takes: `make chunks`.

Those of the corpus test, and texts that cost other cutters the square of their length, as long as the caps allow.
"""

import argparse
import time
from collections.abc import Callable

from streamdex.config import CapsSettings, ChunkSettings, Settings
from streamdex.plan.breaks import look
from streamdex.plan.chunks import Chunker
from streamdex.plan.keys import text_hash
from unit.plan.samples import CORPUS

MAX_RECORD_BYTES = 4_000_000
# Parts that are repeated up to the cap.
REPEATED = {
    "one character": "a",
    "alternating": "a b",
    "alternating lines": "a\n\nb\n",
    "full stops": ".",
    "quotes": '."',
    "Chinese without a stop": "漢",
    "marks": "\u0301",
    "joiners": "\u200d",
    "emoji": "👩\u200d👩\u200d👧",
    "fences": "```\nx\n```\n# H\n\n",
    "headings": "# H\n",
    "digits": "0123456789",
    "JSON": '{"a":[1,2]},',
    "code": "def f(a):\n    return a\n\n",
}


def documents() -> dict[str, Callable[[], str]]:
    """By name, what makes each document."""

    def longest(part: str) -> Callable[[], str]:
        return lambda: part * (MAX_RECORD_BYTES // len(part.encode()))

    return {**CORPUS, **{f"{name}, 4 MB": longest(part) for name, part in REPEATED.items()}}


def row(name: str, text: str, settings: Settings) -> tuple[float, str]:
    """CPU milliseconds of one document, and its line of the table."""
    chunker, hashed = Chunker(settings), text_hash(text)
    begin = time.process_time()
    chunks = chunker.chunks("document", text, hashed)
    cpu_ms = (time.process_time() - begin) * 1000
    longest = max(chunk.tokens for chunk in chunks)
    size = f"{len(text.encode()):,}"
    return cpu_ms, f"{name:30} {size:>10} {look(text):9} {len(chunks):>7,} {cpu_ms:>9.1f} {longest:>9,}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chunks")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--overlap-tokens", type=int, default=0)
    chosen = parser.parse_args()
    # Some of these are above the caps on tokens and chunks; cutting all of them is the harder case.
    caps = CapsSettings(document_tokens=100_000_000, document_chunks=10_000_000)
    cut = ChunkSettings(max_tokens=chosen.max_tokens, overlap_tokens=chosen.overlap_tokens)
    settings = Settings(chunk=cut, caps=caps)
    print(f"{'document':30} {'bytes':>10} {'mode':9} {'chunks':>7} {'CPU ms':>9} {'longest, tokens':>9}")
    slowest = 0.0
    for name, make in documents().items():
        cpu_ms, line = row(name, make(), settings)
        slowest = max(slowest, cpu_ms)
        print(line)
    print(f"The slowest took {slowest / 1000:.2f} s of CPU.")


if __name__ == "__main__":
    main()
