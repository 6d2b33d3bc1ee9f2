"""The pure parts of the endurance runs: when one fails, what its figures are, what a soak is fed."""

import json
from collections import Counter
from itertools import islice
from typing import Any

import orjson
import pytest

from endurance import backpressure, soak
from endurance.findings import MIB, Findings
from endurance.probe import Sample, Slice, usual_rate


def sample(at_s: float, settled: int, **others: Any) -> Sample:
    counts = dict.fromkeys(("fds", "threads", "tasks", "open_records", "open_bytes", "rebalances", "restarts"), 0)
    counts |= {"rss_bytes": 0, "dead_letters": 0, "internal_faults": 0}
    return Sample(at_s=at_s, settled=settled, live=True, ready=True, **(counts | {"cpu_s": 0.0} | others))


@pytest.mark.parametrize(("value", "failed"), [(9.0, False), (10.0, False), (10.1, True)])
def test_a_figure_above_its_bound_fails_the_run(value: float, failed: bool) -> None:
    findings = Findings("run")
    findings.tell("of no bound", 1e9)
    findings.at_most("bounded", value, 10.0, "s")
    assert findings.failed is failed


def test_a_figure_below_its_bound_or_another_count_fails_the_run() -> None:
    findings = Findings("run")
    findings.at_least("rate", 1.0, 2.0)
    findings.exactly("lost", 1, 0)
    findings.exactly("dead letters", 0, 0)
    assert [figure.name for figure in findings.broken] == ["rate", "lost"]


def test_a_complaint_fails_the_run_and_stands_in_the_json() -> None:
    findings = Findings("run", complaints=["something else"])
    told = json.loads(findings.as_json())
    assert (told["failed"], told["complaints"]) == (True, ["something else"])


def test_rates_and_cpu_are_of_what_was_done_between_two_samples() -> None:
    between = Slice.between(sample(10.0, 100, cpu_s=1.0), sample(14.0, 500, cpu_s=1.2))
    assert between.rate == 100.0
    assert between.cpu_us == pytest.approx(500.0)
    assert Slice.between(sample(0.0, 7), sample(1.0, 7, cpu_s=0.1)).cpu_us == float("inf")


def test_the_usual_rate_leaves_out_a_slice_that_was_disturbed() -> None:
    assert usual_rate([sample(at_s, settled) for at_s, settled in enumerate((0, 100, 200, 201, 301, 401))]) == 100.0


def test_the_ceiling_grows_with_the_bound_that_the_worker_was_given() -> None:
    small, large = (backpressure.ceiling_bytes(100 * MIB, intake_bytes) for intake_bytes in (16 * MIB, 64 * MIB))
    assert large - small == 4 * 48 * MIB


def test_a_soak_has_new_documents_updates_and_deletes_of_documents_that_were_new_before() -> None:
    seen: set[bytes] = set()
    kinds: Counter[str] = Counter()
    for block in islice(soak.mixture(), soak.DELETED_LATER // soak.NEW + 5):
        for key, value in block:
            kind = "deleted" if value is None else "updated" if key in seen else "new"
            assert kind != "new" or orjson.loads(value or b"")["id"] == key.decode()
            kinds[kind] += 1
            if value is None:
                assert key in seen
            seen.add(key)
    assert kinds["new"] == len(seen)
    assert kinds["deleted"] >= soak.DELETED
    assert kinds["updated"] >= soak.UPDATED
