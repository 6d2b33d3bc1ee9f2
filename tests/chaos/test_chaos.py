"""Two short campaigns: one whose seed is always the same, and one that is new each time and told."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness import kafka_jars
from harness import services as real_services

ROOT = Path(__file__).parents[2]
FIXED_SEED = 20_260
LIMIT_S = 480.0  # a round of some two minutes, on a machine that is busy otherwise


@pytest.fixture(scope="module", autouse=True)
def _own_kafka(request: pytest.FixtureRequest) -> None:
    """A campaign kills its broker, so it is one of our own."""
    try:
        kafka_jars.classpath()
    except (OSError, RuntimeError) as error:
        raise real_services.refusal(request.config, "Kafka", str(error)) from None


@pytest.mark.alone
@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.parametrize(
    ("seed", "order"), [(FIXED_SEED, "offset"), (None, "version")], ids=["fixed seed", "random seed"]
)
def test_a_campaign_of_two_minutes_violates_nothing(seed: int | None, order: str, tmp_path: Path) -> None:
    seed = random.randrange(10**6) if seed is None else seed
    options = ["--minutes", "2", "--seed", str(seed), "--order", order, "--keep", str(tmp_path / "run")]
    command = [sys.executable, "-m", "chaos", *options]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    ended = subprocess.run(  # noqa: S603 - our own words
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ended.returncode == 0, f"seed {seed}:\n{ended.stdout}\n{ended.stderr}"
    assert " faults fired, 0 violations" in ended.stdout
