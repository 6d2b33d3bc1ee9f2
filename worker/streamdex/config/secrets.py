"""What settings ask of secrets, and of what must hold none."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from streamdex.errors import ConfigurationError

LONGEST_KEY = 4096  # bytes of a header


def refuse_credentials(url: str) -> str:
    """An address is shown in messages and by `streamdex config`; a secret has a setting of its own."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its text quotes the address
        raise ValueError("not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address must hold no user or password; api_key and api_key_file are for secrets")
    return url


def refuse_both(direct: SecretStr | None, file: Path | None, name: str) -> None:
    if direct is not None and file is not None:
        raise ValueError(f"give {name} or {name}_file, not both")


def read_secret(direct: SecretStr | None, file: Path | None, where: str) -> str | None:
    """The secret, read anew from its file where it has one, so that a rotated key takes effect."""
    if file is None:
        return direct.get_secret_value() if direct else None
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"the secret's file cannot be read: {error.strerror}", where, "Make the file readable for this user."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError("the secret's file is not text", where, "Put the key alone in it, as text.") from None


def usable_key(key: str | None, where: str) -> str | None:
    """A key as a header can carry it, None for an empty one. Anything else would fail later, with words of others."""
    if not key:
        return None
    if len(key) > LONGEST_KEY or not all("!" <= dead_letter <= "~" for dead_letter in key):
        raise ConfigurationError(
            "the key has characters that no key has", where, "Give the key alone, without blanks or quotes."
        )
    return key
