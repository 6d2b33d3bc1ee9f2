"""The budget ends spending, says why, and begins again with the day."""

from streamdex.embed.budget import DAY_S, Budget


def test_without_bounds_it_never_ends() -> None:
    budget = Budget(None, None)
    budget.spend(10**12, 0.0)
    assert budget.reason(0.0) is None


def test_the_day_ends_at_midnight() -> None:
    budget = Budget(100, None)
    budget.spend(99, DAY_S / 2)
    assert budget.reason(DAY_S / 2) is None
    budget.spend(1, DAY_S / 2)
    assert "midnight UTC" in (budget.reason(DAY_S - 1) or "")
    assert budget.reason(DAY_S) is None
    assert budget.renewed_in_s(DAY_S / 2) == DAY_S / 2


def test_the_run_ends_for_good() -> None:
    budget = Budget(None, 100)
    budget.spend(100, 0.0)
    assert "jina.tokens_per_run" in (budget.reason(10 * DAY_S) or "")
