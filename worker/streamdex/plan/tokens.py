"""How many tokens a text has: an estimate for the model's kind of tokenizer, or a count by its own one.

Counting with a tokenizer costs 700 µs per 2 KB, so the estimate is the default and the bill corrects it, per model. The
estimate adds up a weight for each byte of the text's UTF-8, whose first bytes say the script. Matching runs of scripts
with regular expressions was rejected: it costs ten times as much and knows neither digits nor symbols.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamdex.errors import ConfigurationError

TokenCounter = Callable[[str], int]

_UNIT = 100  # weights are hundredths of a token, so that sums are exact
_SHORT_BYTES = 100  # below it a plain sum is quicker than numpy's
_STRIDE = 13  # a prime: columns of tables rarely have such a width
_PLAIN = 20  # a text is plain when at most one character of so many is one of these:
_DENSE = b'0123456789{}[]()<>=;:_/\\|&%$#@!*+^~`"'


class Family(NamedTuple):
    """What tokenizers of one kind make of a text; weights by byte, in hundredths of a token.

    Fitted to their counts of the texts in tests/unit/plan/samples.py.
    """

    name: str
    plain_characters_per_token: float
    weights: bytes


def _weights(  # noqa: PLR0913  # the classes of bytes
    *, lower: int, upper: int, digit: int, symbol: int, blank: int, latin: int, greek: int, cyrillic: int, hebrew: int,
    arabic: int, indic: int, others: int, signs: int, cjk: int, hangul: int, forms: int, emoji: int
) -> bytes:  # fmt: skip
    """The weight of each byte. Bytes that continue a character weigh nothing, its first byte has it all."""
    table = bytearray(256)
    classes: list[tuple[Iterable[int], int]] = [
        (range(128), symbol),
        (b" \t\n\r", blank),
        (range(ord("a"), ord("z") + 1), lower),
        (range(ord("A"), ord("Z") + 1), upper),
        (range(ord("0"), ord("9") + 1), digit),
        (range(0xC2, 0xCE), latin),
        (range(0xCE, 0xD0), greek),
        (range(0xD0, 0xD6), cyrillic),
        (range(0xD6, 0xD8), hebrew),
        (range(0xD8, 0xE0), arabic),
        ((0xE0,), indic),  # and Thai, Lao
        ((0xE1,), others),  # Georgian, Ethiopic, Khmer, Latin with marks …
        ((0xE2,), signs),  # dashes, quotes, arrows, boxes
        (range(0xE3, 0xEA), cjk),
        (range(0xEA, 0xEE), hangul),
        (range(0xEE, 0xF0), forms),  # fullwidth and presentation forms, variation selectors
        (range(0xF0, 0xF8), emoji),  # and all that is beyond the first 65,536 characters
    ]
    for members, weight in classes:
        for byte in members:
            table[byte] = weight
    return bytes(table)


XLM_ROBERTA = Family(
    "xlm-roberta",
    3.5,
    _weights(
        lower=30, upper=97, digit=60, symbol=84, blank=10, latin=20, greek=28, cyrillic=29, hebrew=41, arabic=46,
        indic=34, others=38, signs=120, cjk=64, hangul=70, forms=120, emoji=97,
    ),
)  # fmt: skip
QWEN = Family(
    "qwen",
    4.0,
    _weights(
        lower=20, upper=118, digit=115, symbol=67, blank=18, latin=115, greek=101, cyrillic=34, hebrew=46, arabic=47,
        indic=97, others=40, signs=60, cjk=70, hangul=80, forms=100, emoji=166,
    ),
)  # fmt: skip
_QWEN_MODELS = ("jina-embeddings-v4", "jina-embeddings-v5-text-small", "jina-code-embeddings")


def family(model: str) -> Family:
    """The kind of tokenizer that an embedding model has, by its name; XLM-R's where the name says nothing."""
    return QWEN if model.startswith(_QWEN_MODELS) or "qwen" in model.lower() else XLM_ROBERTA


def estimator(of: Family) -> TokenCounter:
    """A counter that estimates: for texts of all kinds 0.8 to 1.4 times what the tokenizer counts; 0 for no text only.

    ASCII in which digits, symbols and the like are rare, by every 13th character, is judged by its length alone.
    """
    weights, characters_per_token = of.weights, of.plain_characters_per_token

    def estimate(text: str) -> int:
        if text.isascii():
            sample = text[::_STRIDE].encode()
            if (len(sample) - len(sample.translate(None, _DENSE))) * _PLAIN <= len(sample):
                return round(len(text) / characters_per_token) or (1 if text else 0)
        # Half of a lone surrogate pair is no valid text; it weighs as a sign, and whoever encodes it will refuse it.
        encoded = text.encode(errors="surrogatepass").translate(weights)
        if len(encoded) < _SHORT_BYTES:
            return max(1, round(sum(encoded) / _UNIT))
        hundredths = int(np.add.reduce(np.frombuffer(encoded, np.uint8), dtype=np.uint64))
        return max(1, round(hundredths / _UNIT))

    return estimate


estimate_tokens = estimator(XLM_ROBERTA)


def token_counter(name: str, model: str) -> TokenCounter:
    """The counter that `chunk.tokenizer` names: `estimate` for the model, a tokenizer.json file, or a name on the hub.

    Raises ConfigurationError when the extra is not installed or the tokenizer cannot be had.
    """
    if name == "estimate":
        return estimator(family(model))
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  # an extra: only those who name a tokenizer need it
    except ImportError:
        raise ConfigurationError(
            "a tokenizer is named but the library is not installed",
            "chunk.tokenizer",
            "Install streamdex[tokenizers], or set it to estimate.",
        ) from None
    try:
        tokenizer = Tokenizer.from_file(name) if Path(name).is_file() else Tokenizer.from_pretrained(name)
    except Exception as error:  # noqa: BLE001  # the library raises bare Exceptions and those of its HTTP client
        raise ConfigurationError(
            f"the tokenizer {name} cannot be loaded: {type(error).__name__}",
            "chunk.tokenizer",
            "Name a tokenizer.json file that exists or a repository on the hub that can be reached, or set estimate.",
        ) from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
