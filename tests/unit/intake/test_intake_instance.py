"""Of two processes with one instance id the older stands aside, and only for as long as the other is there."""

import pytest

from streamdex.config import KafkaSettings
from streamdex.errors import Service, ServiceFault
from streamdex.intake.consumer.instance import HEALTH_NAME, Instance, has_instance_id
from streamdex.telemetry import Health

UUID = "f372884d-689c-40f5-8c64-c0afa10b43f8"
OWN, OTHER = f"pod-0-{UUID}", f"pod-0-{UUID[:-1]}9"
NEIGHBOUR = f"pod-1-{UUID}"


class Fixture:
    """A consumer that has joined as `own`; `listed` is what the group's coordinator tells at each look."""

    def __init__(self, *listed: list[str] | Exception, own: str = OWN, instance_id: str | None = "pod-0") -> None:
        self.listed = list(listed)
        self.own = own
        self.health = Health()
        self.waits = 0
        self.reasons: list[dict[str, str]] = []
        settings = KafkaSettings(group_instance_id=instance_id)
        self.instance = Instance(
            settings, self.health, lambda: self.own, self.waited, members=self.members, sleep=self.sleep
        )

    async def members(self, _: KafkaSettings) -> list[str]:
        told = self.listed.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    def waited(self) -> None:
        self.waits += 1

    async def sleep(self, _: float) -> None:
        self.reasons.append(self.health.reasons)

    async def lost_its_place(self) -> None:
        self.instance.joined()
        self.own = ""
        await self.instance.wait_until_free()


@pytest.mark.parametrize(
    ("member_id", "instance_id", "expected"),
    [
        (OWN, "pod-0", True),
        (OWN, "pod", False),
        (f"pod-0-1-{UUID}", "pod-0", False),
        (f"pod-01-{UUID}", "pod-0", False),
        (f"{UUID}-{UUID}", UUID, True),
        ("pod-0", "pod-0", False),
        (f"streamdex-{UUID}", "pod-0", False),
    ],
)
def test_a_member_id_is_the_instance_id_and_a_uuid(member_id: str, instance_id: str, expected: bool) -> None:
    assert has_instance_id(member_id, instance_id) is expected


async def test_it_waits_while_another_has_the_id_and_says_so() -> None:
    f = Fixture([NEIGHBOUR, OTHER], [OTHER], [NEIGHBOUR])
    await f.lost_its_place()
    assert f.waits == 2
    assert [list(reasons) for reasons in f.reasons] == [[HEALTH_NAME]] * 2
    assert f.health.reasons == {}
    assert f.listed == []


async def test_its_own_member_and_its_neighbours_are_no_reason_to_wait() -> None:
    """As in any rebalance, or when only the generation is out of date."""
    f = Fixture([NEIGHBOUR, OWN])
    await f.lost_its_place()
    assert f.waits == 0


async def test_what_cannot_be_told_is_no_reason_to_wait() -> None:
    f = Fixture([OTHER], ServiceFault(Service.KAFKA, "no broker"))
    await f.lost_its_place()
    assert f.waits == 1
    assert f.health.reasons == {}


async def test_a_first_join_takes_the_id() -> None:
    """The member that is listed may be our predecessor, dead for a second."""
    f = Fixture()
    await f.instance.wait_until_free()
    assert f.waits == 0


async def test_without_an_instance_id_nothing_is_asked() -> None:
    f = Fixture(instance_id=None)
    await f.lost_its_place()
    assert f.waits == 0
