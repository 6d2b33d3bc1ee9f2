"""What belongs to the user is in no repr and no str: they end up in logs, tracebacks and failed asserts.

Found by reflection, so that a class that is added later is held to it as well.
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import streamdex
from streamdex.config import Settings
from streamdex.errors import (
    AccountFault,
    ConfigurationError,
    Reason,
    RecordFault,
    Service,
    ServiceFault,
    Stage,
    SuspectFault,
)

# Names of fields that hold what a user wrote, or name a document of theirs.
USERS_OWN = {
    "content",
    "entries",
    "text",
    "texts",
    "metadata",
    "document_id",
    "key",
    "value",
    "headers",
    "payload",
    "vector",
    "vectors",
}
# These show people the documents that they ask about, or hold no user's data at all.
EXEMPT = (
    "streamdex.cli",
    "streamdex.standins",
    "streamdex.operations.verify",
    "streamdex.operations.explain",
)
CANARY = "canary-of-a-user"


class Shown:
    """Stands in for any value: its repr and format are `text`, and has whatever attribute is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __format__(self, _: str) -> str:
        return self._text

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator["Shown"]:
        return iter([self])

    def __getattr__(self, name: str) -> "Shown":
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def all_classes() -> Iterator[type]:
    """Every class of ours that has fields."""
    for module in pkgutil.walk_packages(streamdex.__path__, "streamdex."):
        if module.name.startswith(EXEMPT) or module.name.endswith("__main__"):
            continue
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and fields_of(found):
                yield found


def fields_of(cls: type) -> list[str]:
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(getattr(cls, "_fields", ()))


def filled(cls: Any) -> Any:
    """An instance whose every field is filled, with a canary where the user's own stands."""
    values = {name: Shown(CANARY if name in USERS_OWN else "fine") for name in fields_of(cls)}
    if issubclass(cls, tuple):
        return cls._make(values.values())
    instance = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(instance, name, value)
    return instance


CLASSES = [cls for cls in all_classes() if USERS_OWN & set(fields_of(cls))]


def test_there_are_such_classes() -> None:
    assert {"Record", "Event", "Chunk", "Manifest", "EmbedJob", "WriteJob"} <= {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_what_belongs_to_the_user_is_not_shown(cls: type) -> None:
    instance = filled(cls)
    assert CANARY not in f"{instance!r} {instance!s} {[instance]}"


@pytest.mark.parametrize(
    "settings",
    [
        {"jina": {"api_key": CANARY}},
        {"qdrant": {"api_key": CANARY}},
        {"kafka": {"sasl_username": "me", "sasl_password": CANARY}},
    ],
)
def test_settings_show_no_secret(settings: dict[str, Any]) -> None:
    found = Settings(**settings)
    (section,) = settings
    part = getattr(found, section)
    shown = f"{found!r} {found!s} {part!r} {part!s} {found.model_dump()} {found.model_dump_json()}"
    assert CANARY not in shown
    assert "**********" in shown


def test_faults_say_what_they_were_given_and_no_more() -> None:
    faults = [
        RecordFault(Stage.DECODE, Reason.UNDECODABLE, "words of ours"),
        SuspectFault(Service.JINA, Reason.WRONG_ANSWER, "words of ours"),
        ServiceFault(Service.QDRANT, "words of ours"),
        AccountFault(Service.KAFKA, "words of ours", "a fix"),
        ConfigurationError("words of ours", "a.setting", "a fix"),
    ]
    for fault in faults:
        assert "words of ours" in str(fault)
        assert fault.__cause__ is None
