"""The benchmark runs through, and its counts are right. Times are not looked at."""

import pytest

from bench.neighbours import stubs_beside
from bench.report import as_json
from bench.scenarios import (
    DELETED,
    NEW,
    REDELIVERED,
    SCRIPT,
    SCRIPT_LONG,
    UPDATED,
    WORKER,
    Options,
    Results,
    run,
)
from harness.kafka import Kafka

# The run starts Kafka, two stubs, four workers and three scripts, one after the other, within the first test's time.
pytestmark = pytest.mark.timeout(300)

OPTIONS = Options(documents=256, rounds=2, partitions=1, open_records=64, profile=True)


@pytest.fixture(scope="module")
def results(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One small run of everything."""
    with stubs_beside(kafka.bootstrap_servers) as place:
        return run(place, OPTIONS, tmp_path_factory.mktemp("bench"), lambda *_: None)


def test_every_scenario_is_measured(results: Results) -> None:
    found = {(figures.scenario, figures.subject): figures.documents for figures in results.figures}
    both = [(scenario, subject) for scenario in (NEW, UPDATED) for subject in (WORKER, SCRIPT)]
    assert found.keys() == {*both, (NEW, SCRIPT_LONG), (REDELIVERED, WORKER), (DELETED, WORKER)}
    assert found[NEW, WORKER] == found[NEW, SCRIPT] == found[DELETED, WORKER] == OPTIONS.documents
    assert found[NEW, SCRIPT_LONG] == OPTIONS.documents
    assert found[UPDATED, WORKER] == found[UPDATED, SCRIPT] == OPTIONS.rounds * OPTIONS.long_documents


def test_new_documents_take_four_requests_a_batch(results: Results) -> None:
    new = results.of(NEW, WORKER)
    assert new is not None
    assert new.inputs == new.documents
    writes = {method: count for method, count in new.requests.items() if not method.startswith("Get")}
    writes.pop("Upsert progress", None)
    assert writes == {"UpdateBatch points": new.batches, "Upsert manifests": new.batches}
    read_back = new.batches
    plans = new.requests["Get manifests"] - read_back
    assert 0 < plans <= new.documents


def test_what_is_known_is_not_embedded(results: Results) -> None:
    for scenario in (REDELIVERED, DELETED):
        figures = results.of(scenario, WORKER)
        assert figures is not None
        assert figures.inputs == 0


def test_one_changed_chunk_of_forty_is_embedded_alone(results: Results) -> None:
    ours, theirs = results.of(UPDATED, WORKER), results.of(UPDATED, SCRIPT)
    assert ours is not None
    assert theirs is not None
    assert ours.inputs == ours.documents
    assert theirs.inputs == 40 * theirs.documents


def test_the_profile_has_all_stages(results: Results) -> None:
    assert results.profile is not None
    assert {"decode and validate", "guarded upsert", "garbage collection"} <= {
        stage.name for stage in results.profile.stages
    }


def test_each_script_is_compared_with_the_worker(results: Results) -> None:
    ours = results.of(NEW, WORKER)
    assert ours is not None
    ratios = {each["subject"]: each for each in as_json(results)["script_to_worker_ratios"]}
    assert ratios.keys() == {SCRIPT, SCRIPT_LONG}
    for subject, ratio in ratios.items():
        theirs = results.of(NEW, subject)
        assert theirs is not None
        assert ratio["typical"] == pytest.approx(theirs.cpu_us / ours.cpu_us)
        assert ratio["least"] == pytest.approx(theirs.least_cpu_us / ours.least_cpu_us)
