"""Deliberate bugs, planted at run time: the scenario that each is held against must notice it, as what it is.

A scenario that finds nothing wrong with the bug in it would find nothing wrong without it, whatever it asserts. The
same scenarios are green on the shipped code; `make mutants` prints who catches whom.
"""

import pytest
from mutants import of_the_protocol, of_the_worker
from mutants.mutant import Mutant, survives

MUTANTS = [*of_the_worker.MUTANTS, *of_the_protocol.MUTANTS]
SCENARIOS = {mutant.scenario: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_the_shipped_code_passes(scenario: Mutant) -> None:
    scenario.play()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mutant_is_caught(mutant: Mutant) -> None:
    assert survives(mutant) is None
