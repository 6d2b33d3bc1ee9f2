"""What the tests of the failure table share."""

import itertools
import json

from mutants.kafka_group import P, Q
from mutants.stage import Stage
from streamdex.deadletter.headers import REASON, STAGE

MARK = "marked"  # in the text of the record that is at fault
POISON = json.dumps({"id": "poison", "text": f"a {MARK} text"}).encode()


def produce(stage: Stage, *documents: str) -> None:
    """New documents on both partitions in turn."""
    for partition, document in zip(itertools.cycle((P, Q)), documents):
        stage.produce(partition, document, f"all there is to say about {document}")


def verdicts(stage: Stage) -> set[tuple[str, str]]:
    """Stage and reason of each dead letter."""
    found = [dict(dead_letter.headers) for dead_letter in stage.group.dead_letters]
    return {((one[STAGE] or b"").decode(), (one[REASON] or b"").decode()) for one in found}
