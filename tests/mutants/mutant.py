"""What a mutant is: a deliberate bug, the scenario that must notice it, and as what."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import pytest


class Wrong(StrEnum):
    """What a scenario can find."""

    UNSETTLED = "a commit passed a record without an outcome"
    FOREIGN = "a member committed a partition that is not its own"
    UNPROVEN = "a commit went out without a place in the group"
    COLLECTION = "the collection is not the fold of the log"
    INNOCENT = "a record that is not at fault became a dead letter"
    LETTER = "a dead letter is not its record byte for byte"
    PAID_TWICE = "a text was embedded again"
    STUCK = "an open record never came to its end"
    UNBOUNDED = "more was taken in than the bound"
    SHARES = "the shares of the key's limits sum up to more than 1"


class Violation(AssertionError):
    """A scenario found something wrong. Anything else that it raises is its own failure, not a finding."""

    def __init__(self, wrong: Wrong, told: str = "") -> None:
        super().__init__(f"{wrong}: {told}")
        self.wrong = wrong


class Planting:
    """Plants bugs in shipped code, and knows which of them ran."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._planted: list[str] = []
        self._ran: Counter[str] = Counter()

    def setattr(self, owner: Any, name: str, bug: Callable[..., Any]) -> None:
        """Put `bug` in the place of a method, or of a function as a module knows it."""
        label = f"{owner.__name__}.{name}"
        self._planted.append(label)
        kind = vars(owner)[name]  # an unknown name would plant nothing

        def ran(*arguments: Any, **options: Any) -> Any:
            self._ran[label] += 1
            return bug(*arguments, **options)

        wrapped: Any = ran
        if isinstance(kind, property):
            wrapped = property(ran)
        elif isinstance(kind, staticmethod):
            wrapped = staticmethod(ran)
        self._patch.setattr(owner, name, wrapped)

    @property
    def idle(self) -> list[str]:
        """Planted code that never ran."""
        return [label for label in self._planted if not self._ran[label]]


Plant = Callable[[Planting], None]


class Mutant(NamedTuple):
    """One bug. `play` plays the scenario: it raises a Violation, of which `told` is a part, or finds nothing."""

    name: str
    plant: Plant
    scenario: str
    play: Callable[[], None]
    caught_as: Wrong
    told: str = ""


def survives(mutant: Mutant) -> str | None:
    """Plays the scenario with the bug. None when it was caught as it must be, else what happened instead."""
    with pytest.MonkeyPatch.context() as patch:
        planting = Planting(patch)
        mutant.plant(planting)
        try:
            mutant.play()
        except Violation as violation:
            if violation.wrong is not mutant.caught_as or mutant.told not in str(violation):
                return f"found was: {violation}"
        else:
            return "nothing was found"
    return f"never ran: {', '.join(planting.idle)}" if planting.idle else None
