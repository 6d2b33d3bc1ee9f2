"""The dead-letter topics: are they there, and do they take what their sources hold?"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAlreadyExistsError, for_code

from streamdex.config import KafkaSettings
from streamdex.errors import ConfigurationError
from streamdex.kafka.client import ClusterFacts, administered, survey
from streamdex.kafka.rights import Right, refuse_without

HEADER_BYTES = 64 * 1024  # what our headers may add to a record that already fills its topic's bound
BROKER_DEFAULT_BYTES = 1_048_588  # max.message.bytes where nobody set it, or may read it
MAX_BYTES = "max.message.bytes"


class DeadLetterTopic(NamedTuple):
    """One dead-letter topic. `max_bytes` is what it takes, `wanted_bytes` what its sources may need."""

    name: str
    partitions: int
    max_bytes: int
    wanted_bytes: int
    created: bool

    @property
    def small(self) -> bool:
        """Whether a record may come that it does not take."""
        return self.max_bytes < self.wanted_bytes


class _Plan(NamedTuple):
    partitions: int
    replication: int
    wanted_bytes: int


async def prepare_topics(settings: KafkaSettings, *, create: bool) -> list[DeadLetterTopic]:
    """The dead-letter topics of all sources; those that are missing are made if `create`.

    Raises ConfigurationError with the fix, or ServiceFault.
    """
    names = {topic: settings.dead_letter_topic_of(topic) for topic in settings.topics}
    if set(names.values()) & set(settings.topics):
        fix = "Choose another name, such as {topic}.dlq."
        raise ConfigurationError("a topic would be its own dead-letter topic", "kafka.dead_letter_topic", fix)
    facts = await survey(settings, (*names, *names.values()))
    async with administered(settings) as admin:
        await refuse_without(admin, settings, Right.WRITE, facts.topics.keys() & names.values())
        configs = await topic_configs(admin, MAX_BYTES, facts.topics)
        bounds = {topic: int(value) for topic, value in configs.items()}
        plans = _plans(names, facts, bounds)
        missing = {name: plan for name, plan in plans.items() if name not in facts.topics}
        if missing:
            await _make(admin, missing, create=create)
    return [
        DeadLetterTopic(
            name,
            facts.topics[name].partitions if name in facts.topics else plan.partitions,
            bounds.get(name, BROKER_DEFAULT_BYTES) if name in facts.topics else plan.wanted_bytes,
            plan.wanted_bytes,
            name in missing,
        )
        for name, plan in plans.items()
    ]


def _plans(names: Mapping[str, str], facts: ClusterFacts, bounds: Mapping[str, int]) -> dict[str, _Plan]:
    """How each dead-letter topic should be: as its source, or as the largest of the sources that share it."""
    plans: dict[str, _Plan] = {}
    for source, name in names.items():
        before = plans.get(name, _Plan(1, 1, 0))
        has = facts.topics.get(source)
        wanted_bytes = bounds.get(source, BROKER_DEFAULT_BYTES) + HEADER_BYTES
        plans[name] = _Plan(
            max(before.partitions, has.partitions if has else 1),
            max(before.replication, has.replication if has else 1),
            max(before.wanted_bytes, wanted_bytes),
        )
    return plans


async def topic_configs(admin: AIOKafkaAdminClient, name: str, topics: Collection[str]) -> dict[str, str]:
    """What a setting of these topics is, where we may ask about it. Raises KafkaError."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {name: None}) for topic in topics]
    try:
        answers = await admin.describe_configs(asked) if asked else []
    except IncompatibleBrokerVersion:  # librdkafka's mock cluster does not know the question
        return {}
    resources = [resource for answer in answers for resource in answer.to_object()["resources"]]
    return {
        resource["resource_name"]: entry["config_value"]
        for resource in resources
        if resource["error_code"] == 0  # else most often for want of the right to describe configs
        for entry in resource["config_entries"]
        if entry["config_names"] == name
    }


async def _make(admin: AIOKafkaAdminClient, missing: Mapping[str, _Plan], *, create: bool) -> None:
    if not create:
        name, plan = min(missing.items())
        fix = f"Run streamdex check --create, create it with {MAX_BYTES}={plan.wanted_bytes}, or grant Write on it."
        raise ConfigurationError(f"the dead-letter topic {name} is not there", "kafka.dead_letter_topic", fix)
    cluster = await admin.describe_cluster()
    if cluster["controller_id"] not in {broker["node_id"] for broker in cluster["brokers"]}:
        await admin.describe_topics(list(missing))  # librdkafka's mock cluster makes topics by their first mention
        return
    topics = [
        NewTopic(name, plan.partitions, plan.replication, topic_configs={MAX_BYTES: str(plan.wanted_bytes)})
        for name, plan in missing.items()
    ]
    answer = await admin.create_topics(topics)
    for name, code, *_ in answer.topic_errors:  # nothing is raised: errors stand in the answer alone
        if code and for_code(code) is not TopicAlreadyExistsError:  # another replica was faster
            raise _not_made(name, for_code(code))


def _not_made(name: str, error: type[KafkaError]) -> ConfigurationError | KafkaError:
    if error.retriable:
        return error()
    fix = "Create it by hand; or grant this user Create on it, or Write where it is there."
    what = f"the dead-letter topic {name} cannot be made: {error.__name__}"
    return ConfigurationError(what, "kafka.dead_letter_topic", fix)
