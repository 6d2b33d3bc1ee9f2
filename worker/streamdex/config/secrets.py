"""How settings read secrets, and keep them out of addresses."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from streamdex.errors import ConfigurationError

LONGEST_KEY = 4096  # bytes of a header


def refuse_credentials(url: str) -> str:
    """The address, which messages and `streamdex config` show. Raises ValueError when it holds a user or password."""
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
    """The secret, read from its file each time, so that a rotated key takes effect. Raises ConfigurationError."""
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
    """The key, None for an empty one. Raises ConfigurationError for what no header can carry: it would fail later."""
    if not key:
        return None
    if len(key) > LONGEST_KEY or not all("!" <= character <= "~" for character in key):
        raise ConfigurationError(
            "the key has characters that no key has", where, "Give the key alone, without blanks or quotes."
        )
    return key
