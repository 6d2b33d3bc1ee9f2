"""When a consumer is beyond help."""

from streamdex.intake.consumer.watch import (
    COMMIT_FAILING_S,
    NO_MEMBER_S,
    POLL_FAILING_S,
    POLL_STUCK_S,
    ConsumerRestart,
    Watch,
)


def test_a_consumer_that_polls_is_well() -> None:
    watch = Watch(0.0)
    for now_s in range(0, 1000, 50):
        watch.polled(float(now_s))
        watch.was_member(float(now_s))
        assert watch.cause(now_s + 49.0) is None


def test_a_consumer_that_polls_well_and_is_not_in_its_group() -> None:
    watch = Watch(0.0)
    watch.was_member(10.0)
    watch.polled(10.0 + NO_MEMBER_S)
    assert watch.cause(10.0 + NO_MEMBER_S) is None
    assert watch.cause(10.1 + NO_MEMBER_S) is ConsumerRestart.NO_MEMBER
    watch.was_member(10.1 + NO_MEMBER_S)
    assert watch.cause(10.2 + NO_MEMBER_S) is None


def test_a_poll_that_never_returns() -> None:
    watch = Watch(10.0)
    assert watch.cause(10.0 + POLL_STUCK_S) is None
    assert watch.cause(10.1 + POLL_STUCK_S) is ConsumerRestart.POLL_STUCK


def test_polls_that_fail_without_end() -> None:
    watch = Watch(0.0)
    for now_s in range(int(POLL_FAILING_S) + 1):
        watch.poll_failed(float(now_s))
        assert watch.cause(float(now_s)) is None
    watch.poll_failed(POLL_FAILING_S + 1)
    assert watch.cause(POLL_FAILING_S + 1) is ConsumerRestart.POLL_FAILING


def test_one_good_poll_forgives() -> None:
    watch = Watch(0.0)
    watch.poll_failed(0.0)
    watch.polled(POLL_FAILING_S)
    watch.poll_failed(POLL_FAILING_S + 1)
    assert watch.cause(POLL_FAILING_S * 2) is None


def test_commits_that_fail_without_end() -> None:
    watch = Watch(0.0)
    watch.commit_failed(1.0)
    watch.commit_failed(100.0)
    watch.polled(COMMIT_FAILING_S + 2)
    watch.was_member(COMMIT_FAILING_S + 2)
    assert watch.cause(COMMIT_FAILING_S + 1) is None
    assert watch.cause(COMMIT_FAILING_S + 2) is ConsumerRestart.COMMIT_FAILING
    watch.committed()
    assert watch.cause(COMMIT_FAILING_S + 2) is None


def test_a_task_of_its_own_that_died() -> None:
    assert Watch(0.0).cause(0.0, task_died=True) is ConsumerRestart.TASK_DIED
