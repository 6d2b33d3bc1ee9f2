"""Jobs, inputs, requests and the queue: what travels together and when a job is complete."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdex.embed.jobs import EmbedJob, EmbedRequest
from streamdex.embed.queue import PASSED_OVER, Queue


def job(*tokens: int, together: bool = False) -> EmbedJob:
    return EmbedJob(tuple(f"t{place}" for place in range(len(tokens))), tokens, together=together)


def queue(*jobs: EmbedJob) -> Queue:
    filled = Queue()
    for each in jobs:
        filled.add(each)
    return filled


def vectors(request: EmbedRequest) -> list[bytes]:
    return [text.encode() for text in request.texts()]


def test_a_prefix_is_bounded_by_inputs_and_by_tokens() -> None:
    waiting = queue(job(10, 10, 10), job(10))
    first = waiting.prefix(2, 1000)
    second = waiting.prefix(64, 15)
    assert first is not None
    assert second is not None
    assert (len(first.inputs), first.tokens) == (2, 20)
    assert (len(second.inputs), second.tokens) == (1, 10)
    assert (waiting.inputs, waiting.tokens, waiting.size_bytes) == (1, 10, sys.getsizeof("t0"))


def test_an_input_larger_than_every_bound_still_goes() -> None:
    request = queue(job(10_000)).prefix(1, 5)
    assert request is not None
    assert request.tokens == 10_000


def test_an_empty_queue_has_no_prefix() -> None:
    assert Queue().prefix(64, 1000) is None


def test_texts_that_belong_together_go_whole_and_by_themselves() -> None:
    waiting = queue(job(1), job(1, 1, 1, together=True), job(1))
    requests = [waiting.prefix(2, 2) for _ in range(4)]
    assert [len(request.texts()) for request in requests if request] == [1, 3, 1]
    assert requests[3] is None


def test_a_job_over_several_requests_is_complete_with_the_last() -> None:
    each = job(1, 1, 1)
    waiting = queue(each)
    requests = [request for request in (waiting.prefix(2, 100), waiting.prefix(2, 100)) if request]
    assert requests[1].deliver(vectors(requests[1])) == []
    assert requests[0].deliver(vectors(requests[0])) == [each]
    assert each.vectors == [b"t0", b"t1", b"t2"]
    assert each.closed


def test_inputs_of_closed_jobs_are_skipped_everywhere() -> None:
    gone, kept = job(1, 1), job(1)
    waiting = queue(gone, kept)
    request = waiting.prefix(64, 100)
    assert request is not None
    gone.closed = True
    assert request.drop_closed()
    assert (request.texts(), request.tokens) == (["t0"], 1)
    kept.closed = True
    assert not request.drop_closed()
    again = queue(gone, kept)
    assert again.prefix(64, 100) is None
    assert (again.inputs, again.tokens, again.size_bytes) == (0, 0, 0)


def test_vectors_for_a_job_that_ended_meanwhile_are_dropped() -> None:
    each = job(1)
    request = queue(each).prefix(64, 100)
    assert request is not None
    each.closed = True
    assert request.deliver([b"x"]) == []
    assert each.vectors == [b""]


def test_small_ones_fill_the_gap_and_the_large_one_is_next() -> None:
    waiting = queue(job(50), job(90), job(30), job(20), job(10))
    requests = [request for _ in range(3) if (request := waiting.prefix(64, 100))]
    assert [[inputs.tokens for inputs in request.inputs] for request in requests] == [[50, 30, 20], [90, 10]]
    assert (waiting.inputs, waiting.tokens) == (0, 0)


@given(st.lists(st.integers(1, 120), min_size=1, max_size=80))
def test_passed_over_means_eight_requests_later_at_most(tokens: list[int]) -> None:
    """In a queue that never runs dry, each text is sent by the time all before it fill, and eight requests more."""
    jobs = [job(one) for one in tokens]
    waiting, requests = queue(*jobs), 0
    sent_in: dict[EmbedJob, int] = {}
    while request := waiting.prefix(64, 100):
        requests += 1
        sent_in.update({inputs.job: requests for inputs in request.inputs})
    for place, each in enumerate(jobs):
        alone = queue(*(job(one) for one in tokens[: place + 1]))
        fifo = 0
        while alone.prefix(64, 100):
            fifo += 1
        assert sent_in[each] <= fifo + PASSED_OVER


def test_drop_closed_keeps_the_order() -> None:
    jobs = [job(1) for _ in range(5)]
    waiting = queue(*jobs)
    jobs[1].closed = jobs[4].closed = True
    waiting.drop_closed()
    request = waiting.prefix(64, 100)
    assert request is not None
    assert [inputs.job for inputs in request.inputs] == [jobs[0], jobs[2], jobs[3]]


def test_a_job_without_an_estimate_for_each_text_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="one token estimate"):
        EmbedJob(("a", "b"), (1,))


def test_no_repr_shows_a_text() -> None:
    each = EmbedJob(("private",), (1,))
    request = queue(each).prefix(64, 100)
    assert "private" not in f"{each!r} {request!r} {each.inputs()!r}"


@given(
    st.lists(st.tuples(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.booleans()), max_size=20),
    st.integers(1, 10),
    st.integers(1, 200),
)
def test_every_text_travels_exactly_once_and_nobody_waits_long(
    shapes: list[tuple[list[int], bool]], max_inputs: int, max_tokens: int
) -> None:
    jobs = [job(*tokens, together=together) for tokens, together in shapes]
    waiting = queue(*jobs)
    sent: list[tuple[EmbedJob, int]] = []
    while request := waiting.prefix(max_inputs, max_tokens):
        if len(request.inputs) > 1:
            assert sum(inputs.count for inputs in request.inputs) <= max_inputs
            assert request.tokens <= max_tokens
            assert not any(inputs.job.together for inputs in request.inputs)
        sent += [(inputs.job, place) for inputs in request.inputs for place in range(inputs.start, inputs.stop)]
        request.deliver(vectors(request))
    in_order = [(each, place) for each in jobs for place in range(len(each.texts))]
    assert sorted(map(in_order.index, sent)) == list(range(len(in_order)))
    assert all(each.closed and not each.missing for each in jobs)
    assert (waiting.inputs, waiting.tokens, waiting.size_bytes) == (0, 0, 0)
