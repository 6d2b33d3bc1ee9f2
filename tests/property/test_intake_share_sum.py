"""Whatever the group's history, delays and losses included: the shares in force never sum up to more than 1."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from streamdex.embed.pacing.share import Share

SESSION_S = 10.0
PARTITIONS = 12


@dataclass
class Member:
    """A replica as the coordinator knows it. A lost one hears nothing more, and its commits arrive no more."""

    share: Share = field(default_factory=lambda: Share(SESSION_S))
    proven_s: float = -SESSION_S
    lost: bool = False


generations = st.lists(
    st.fixed_dictionaries(
        {
            "lasts_s": st.floats(0.1, 30),
            "members": st.integers(1, 6),
            "lost": st.integers(0, 5),
            "revoke_delays_s": st.lists(st.floats(0, 5), min_size=6, max_size=6),
            "assign_delays_s": st.lists(st.floats(0, 5), min_size=6, max_size=6),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(generations)
def test_the_sum_never_exceeds_one(history: list[dict[str, object]]) -> None:
    now_s = 0.0
    members: list[Member] = []
    zombies: list[Member] = []
    for generation in history:
        now_s = rebalance(now_s, members, zombies, generation)
        now_s = work(now_s, members, zombies, float(str(generation["lasts_s"])))


def rebalance(now_s: float, members: list[Member], zombies: list[Member], generation: dict[str, object]) -> float:
    """All members that can be heard release their partitions; then the coordinator assigns all of them again.

    It waits for each member until it has joined again, or was not heard of for a session.
    """
    lost = int(str(generation["lost"]))
    for index, member in enumerate(members):
        member.lost = member.lost or index < lost
    joined_s = now_s
    delays = iter(_floats(generation["revoke_delays_s"]))
    for member in members:
        if member.lost:
            joined_s = max(joined_s, member.proven_s + SESSION_S + 0.001)  # later than any rounding of the clock
        else:
            revoked_s = now_s + next(delays)
            member.share.revoked(revoked_s)
            joined_s = max(joined_s, revoked_s)
    zombies.extend(member for member in members if member.lost)
    wanted = int(str(generation["members"]))
    members[:] = [member for member in members if not member.lost][:wanted]
    members.extend(Member() for _ in range(wanted - len(members)))
    sum_is_bounded(joined_s, members, zombies)
    latest_s = joined_s
    steps = sorted(zip(_floats(generation["assign_delays_s"]), range(len(members)), strict=False))
    for delay_s, index in steps:
        own = PARTITIONS // len(members) + (index < PARTITIONS % len(members))
        latest_s = joined_s + delay_s
        members[index].share.assigned(own, PARTITIONS, latest_s)
        prove(members[index], latest_s)
        sum_is_bounded(latest_s, members, zombies)
    return latest_s


def work(now_s: float, members: list[Member], zombies: list[Member], lasts_s: float) -> float:
    """Time goes by, with commits every third of the session; a zombie's are not accepted."""
    end_s = now_s + lasts_s
    while now_s < end_s:
        sum_is_bounded(now_s, members, zombies)
        now_s = min(end_s, now_s + SESSION_S / 3)
        for member in members:
            prove(member, now_s)
    sum_is_bounded(now_s, members, zombies)
    return now_s


def prove(member: Member, now_s: float) -> None:
    member.proven_s = now_s
    member.share.proven(now_s)


def sum_is_bounded(now_s: float, members: list[Member], zombies: list[Member]) -> None:
    assert sum(member.share.at(now_s) for member in (*members, *zombies)) <= 1 + 1e-9


def _floats(values: object) -> list[float]:
    assert isinstance(values, list)
    return [float(value) for value in values]
