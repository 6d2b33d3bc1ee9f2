"""Deliberate bugs, planted at run time: the scenario that each is held against must notice it, as what it is.

A scenario that finds nothing wrong with the bug in it would find nothing wrong without it, whatever it asserts. The
same scenarios are green on the shipped code; `make mutants` prints who catches whom.
"""

from collections.abc import Callable

import pytest

from mutants import of_the_protocol, of_the_worker
from mutants.mutant import Mutant, Planting, Violation, Wrong, survives
from streamdex.embed import Share

MUTANTS = [*of_the_worker.MUTANTS, *of_the_protocol.MUTANTS]
SCENARIOS = {mutant.scenario: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_the_shipped_code_passes(scenario: Mutant) -> None:
    scenario.play()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mutant_is_caught(mutant: Mutant) -> None:
    assert survives(mutant) is None


def _finds() -> None:
    raise Violation(Wrong.STUCK, "at x")


def _breaks() -> None:
    raise AttributeError("not a finding")


def _plant(plant: Planting) -> None:
    plant.setattr(Share, "revoked", lambda *_: None)


@pytest.mark.parametrize(
    ("play", "caught_as", "told", "instead"),
    [
        (lambda: None, Wrong.STUCK, "", "nothing was found"),
        (_finds, Wrong.SHARES, "", "found was: an open record never came to its end: at x"),
        (_finds, Wrong.STUCK, "at y", "found was: an open record never came to its end: at x"),
        (_finds, Wrong.STUCK, "at x", "never ran: Share.revoked"),
    ],
)
def test_what_does_not_count_as_caught(play: Callable[[], None], caught_as: Wrong, told: str, instead: str) -> None:
    assert survives(Mutant("a bug", _plant, "a scenario", play, caught_as, told)) == instead


def test_an_exception_of_another_kind_is_no_catch() -> None:
    with pytest.raises(AttributeError):
        survives(Mutant("a bug", _plant, "a scenario", _breaks, Wrong.STUCK))


def test_nothing_stays_planted() -> None:
    shipped = Share.revoked
    survives(Mutant("a bug", _plant, "a scenario", lambda: Share(1.0).revoked(0.0), Wrong.STUCK))
    assert Share.revoked is shipped
