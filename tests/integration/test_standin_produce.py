"""What `streamdex demo` does with a Kafka of the user's own: makes its topic and fills it."""

from harness.kafka import Kafka
from streamdex.config import KafkaSettings
from streamdex.standins.produce import Message, create_topic, produce


async def test_a_topic_is_made_once_and_filled(kafka: Kafka) -> None:
    topic = kafka.unique_topic()
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topics=(topic,))
    for _ in range(2):
        await create_topic(settings, topic, 3)
    told: list[int] = []
    messages = [Message(b"%d" % number, b"v") for number in range(1_200)] + [Message(b"0", None)]
    await produce(settings, topic, messages, told.append)
    records = await kafka.read_all(topic)
    assert sum(told) == len(records) == 1_201
    assert {record.partition for record in records} == {0, 1, 2}
    assert [record.value for record in records if record.key == b"0"] == [b"v", None]
