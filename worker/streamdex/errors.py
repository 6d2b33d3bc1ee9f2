"""The closed taxonomy of faults. Each package maps what its client library raises to one of these.

It does so once, where the exception arrives, by type and code; nothing matches on message text.

What happens depends on whose fault it is:

| class | whose fault | what happens |
|---|---|---|
| RecordFault | proven to be the record's | dead letter, at once |
| SuspectFault | not known yet: one input's, or everything's | bisect, then compare with other inputs |
| ServiceFault | the service's | back off and retry; never a dead letter |
| AccountFault | the account's or the configuration's, seen while running | pause, not ready, reason and fix logged |
| ConfigurationError | the configuration's, seen at start | exit 2 with what, where and the fix |

Our own code writes the messages: none ever quotes a secret, document text or metadata.
"""

from enum import StrEnum


class Stage(StrEnum):
    """Where on a record's way a fault was met; a header of the dead letter."""

    DECODE = "decode"
    PLAN = "plan"
    EMBED = "embed"
    INDEX = "index"


class Reason(StrEnum):
    """Why a record became a dead letter: a closed list, a header of the dead letter and a label of the metric."""

    UNDECODABLE = "undecodable"
    EMPTY_VALUE = "empty_value"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    NOT_FINITE = "not_finite"
    LONE_SURROGATE = "lone_surrogate"
    TRAILING_DATA = "trailing_data"
    COMPRESSED = "compressed"
    NEEDS_REGISTRY = "needs_registry"
    UNKNOWN_FIELD = "unknown_field"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    VALUE_UNAVAILABLE = "value_unavailable"
    SEVERAL_DOCUMENTS = "several_documents"
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
    """A service that the worker depends on."""

    KAFKA = "kafka"
    JINA = "jina"
    QDRANT = "qdrant"


class StreamdexError(Exception):
    """Base of all our exceptions. `str()` of one is safe to log and to show."""


class RecordFault(StreamdexError):
    """Proven to belong to one record: it becomes a dead letter."""

    def __init__(self, stage: Stage, reason: Reason, message: str, attempts: int = 1) -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason
        self.message = message
        self.attempts = attempts


class SuspectFault(StreamdexError):
    """A request was refused or answered wrongly: the reason may be one of its inputs, or the configuration."""

    def __init__(self, service: Service, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.service = service
        self.reason = reason
        self.message = message


class ServiceFault(StreamdexError):
    """A service does not work now: unreachable, overloaded, out of space, too slow.

    `unanswered` says that the request may still take effect; `retry_after_s` is the wait that the service asked for.
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
    """The request is larger than the service accepts: halve it and try again at once."""


class Exhausted(TooLarge):
    """The request is too large, or the service is busy. What cannot be halved any more must wait."""


class AccountFault(StreamdexError):
    """The account or the configuration is refused while running; `fix` says what a person must do."""

    def __init__(self, service: Service, message: str, fix: str) -> None:
        super().__init__(f"{message}. {fix}")
        self.service = service
        self.message = message
        self.fix = fix


class ConfigurationError(StreamdexError):
    """A setting cannot work: `what` is wrong, `where` it is set, and how to `fix` it. Exit code 2."""

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
