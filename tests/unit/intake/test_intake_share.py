"""The share goes down at once, up late, and is gone without proof."""

from streamdex.embed.pacing.share import QUIET_S, Share

SESSION_S = 10.0


def proven_share(own: int, everything: int, now_s: float) -> Share:
    share = Share(SESSION_S)
    share.assigned(own, everything, now_s)
    share.proven(now_s)
    return share


def test_nothing_is_ours_before_the_first_assignment() -> None:
    assert Share(SESSION_S).at(0.0) == 0.0


def test_a_first_assignment_counts_after_its_quiet_seconds() -> None:
    share = proven_share(1, 4, 100.0)
    assert share.at(100.0) == 0.0
    assert share.at(100.0 + QUIET_S - 0.1) == 0.0
    assert share.at(100.0 + QUIET_S) == 0.25


def test_a_decrease_counts_at_once_and_an_increase_late() -> None:
    share = proven_share(2, 4, 0.0)
    share.revoked(8.0)
    assert share.at(8.0) == 0.0
    share.assigned(1, 4, 8.5)
    share.proven(8.5)
    assert share.at(8.5) == 0.25
    share.revoked(16.0)
    share.assigned(3, 4, 16.5)
    share.proven(16.5)
    assert share.at(16.5) == 0.25
    assert share.at(16.5 + QUIET_S) == 0.75


def test_all_partitions_count_at_once() -> None:
    assert proven_share(4, 4, 0.0).at(0.0) == 1.0


def test_a_storm_does_not_starve() -> None:
    share = proven_share(1, 4, 0.0)
    now_s = QUIET_S
    for _ in range(20):
        share.revoked(now_s)
        share.assigned(1, 4, now_s + 0.5)
        share.proven(now_s + 0.5)
        assert share.at(now_s + 0.5) == 0.25
        now_s += 2.0


def test_without_proof_for_a_session_nothing_may_be_used() -> None:
    share = proven_share(4, 4, 0.0)
    assert share.at(SESSION_S - 0.1) == 1.0
    assert share.at(SESSION_S) == 0.0
    share.proven(SESSION_S + 1)
    assert share.at(SESSION_S + 1) == 1.0


def test_an_empty_subscription_has_no_share() -> None:
    assert proven_share(0, 0, 0.0).at(QUIET_S) == 0.0


def test_statistics_tell_what_will_come() -> None:
    statistics = proven_share(1, 2, 0.0).statistics(1.0)
    assert (statistics.in_force, statistics.full, statistics.proven) == (0.0, 0.5, True)
