"""How many tokens a text has: an estimate by script, or a count by a model's own tokenizer.

Counting with a tokenizer costs 700 µs per 2 KB, so the estimate is the default and the bill corrects it, per model.
"""

import re
from collections.abc import Callable
from pathlib import Path

from streamdex.errors import ConfigurationError

TokenCounter = Callable[[str], int]

LATIN_CHARACTERS_PER_TOKEN = 3.5
OTHER_CHARACTERS_PER_TOKEN = 2.5  # Cyrillic, Arabic, Greek, Hebrew, Indic …
CJK_CHARACTERS_PER_TOKEN = 1.2

# Runs, so that a text of one script is a few matches rather than one per character.
_CJK = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+")
_OTHER = re.compile(r"[\u0370-\u1dff\u2c00-\u2dff\ua640-\uabff\ufb1d-\ufeff]+")


def estimate_tokens(text: str) -> int:
    """Tokens of a text by the characters of its scripts; at least 1 for a text that is not empty."""
    if not text:
        return 0
    if text.isascii():
        return max(1, round(len(text) / LATIN_CHARACTERS_PER_TOKEN))
    cjk = sum(map(len, _CJK.findall(text)))
    other = sum(map(len, _OTHER.findall(text)))
    latin = len(text) - cjk - other
    tokens = cjk / CJK_CHARACTERS_PER_TOKEN + other / OTHER_CHARACTERS_PER_TOKEN + latin / LATIN_CHARACTERS_PER_TOKEN
    return max(1, round(tokens))


def token_counter(name: str) -> TokenCounter:
    """The counter that `chunk.tokenizer` names: `estimate`, a tokenizer.json file, or a name on the hub.

    Raises ConfigurationError when the extra is not installed or the tokenizer cannot be had.
    """
    if name == "estimate":
        return estimate_tokens
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
