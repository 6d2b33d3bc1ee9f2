"""The closed taxonomy of faults. Each edge maps what its neighbour raised to one of these.

The mapping happens once, at the edge, by type and code; nobody matches on message text.

Whose fault decides what happens:

| class | whose fault | what happens |
|---|---|---|
| RecordFault | proven to be the record's | dead letter, at once |
| SuspectFault | refused or broken, by an input or by everything: not known yet | bisect, then judge by contrast |
| ServiceFault | the service's | back off and retry; never a dead letter |
| AccountFault | the account's or the configuration's, seen while running | pause, not ready, reason and mend logged |
| ConfigurationError | the configuration's, seen at start | exit 2 with what, where and the mend |

Messages are written by us or redacted at the edge: no secret, document text or metadata ever stands in one.
"""

from enum import StrEnum


class Stage(StrEnum):
    """Where in the flow a fault was met; a header of the dead letter."""

    DECODE = "decode"
    PLAN = "plan"
    EMBED = "embed"
    INDEX = "index"


class Reason(StrEnum):
    """Why a record became a dead letter: a closed list, a header of the dead letter and a label of the metric."""

    UNDECODABLE = "undecodable"
    NO_ID = "no_id"
    NO_VERSION = "no_version"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_DEEP = "too_deep"
    TOO_MANY_TOKENS = "too_many_tokens"
    TOO_MANY_CHUNKS = "too_many_chunks"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    REFUSED_BY_EMBEDDER = "refused_by_embedder"
    WRONG_ANSWER = "wrong_answer"
    REFUSED_BY_INDEX = "refused_by_index"
    INTERNAL = "internal"


class Service(StrEnum):
    """A neighbour."""

    KAFKA = "kafka"
    JINA = "jina"
    QDRANT = "qdrant"


class StreamdexError(Exception):
    """Base of all of ours. `str()` of it is safe to log and to show."""


class RecordFault(StreamdexError):
    """Proven to belong to one record: it becomes a dead letter."""

    def __init__(self, stage: Stage, reason: Reason, message: str, attempts: int = 1) -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason
        self.message = message
        self.attempts = attempts


class SuspectFault(StreamdexError):
    """A request was refused or answered wrongly: one of its inputs may be to blame, or the configuration."""

    def __init__(self, service: Service, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.service = service
        self.reason = reason
        self.message = message


class ServiceFault(StreamdexError):
    """A neighbour does not work now: unreachable, overloaded, out of space, too slow.

    `unanswered` tells that the request may still take effect; `retry_after_s` is what the neighbour asked for.
    """

    def __init__(
        self, service: Service, message: str, *, retry_after_s: float | None = None, unanswered: bool = False
    ) -> None:
        super().__init__(message)
        self.service = service
        self.message = message
        self.retry_after_s = retry_after_s
        self.unanswered = unanswered


class TooLarge(ServiceFault):
    """The request is larger than the neighbour takes at once: halve it and try again at once."""


class Exhausted(TooLarge):
    """Perhaps the request is too large, perhaps the neighbour is busy. What cannot be halved any more must wait."""


class AccountFault(StreamdexError):
    """The account or the configuration is refused while running; `fix` says what a person must do."""

    def __init__(self, service: Service, message: str, fix: str) -> None:
        super().__init__(f"{message}. {fix}")
        self.service = service
        self.message = message
        self.fix = fix


class ConfigurationError(StreamdexError):
    """A setting cannot work: `what` is wrong, `where` it stands, `fix` says how to put it right. Exit code 2."""

    def __init__(self, what: str, where: str, fix: str) -> None:
        super().__init__(f"{what} ({where}). {fix}")
        self.what = what
        self.where = where
        self.fix = fix


class ExitCode:
    """Exit codes of the command."""

    CLEAN = 0
    CRASHED = 1
    CONFIGURATION = 2
    DRAIN_INCOMPLETE = 3
