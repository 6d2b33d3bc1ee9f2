"""A stand-in for the Jina embedding API: its requests, answers, errors and limits, with lexical vectors.

Promises the shapes and the strictness of the hosted service, limits that are never exceeded under the chosen window,
and faults that say how often they fired. It promises no meaning: its vectors know words, not what they say.
"""

from worker.embedded.jina.answers import ErrorShape
from worker.embedded.jina.faults import Fault, FaultKind
from worker.embedded.jina.limits import Limits
from worker.embedded.jina.models import MODELS, Model
from worker.embedded.jina.options import Latency, Options, QuotaHeaders
from worker.embedded.jina.requests import MAX_INPUTS, FieldMode
from worker.embedded.jina.server import JinaServer
from worker.embedded.jina.stats import RequestNote, Stats
from worker.embedded.jina.windows import WindowKind

__all__ = [
    "MAX_INPUTS",
    "MODELS",
    "ErrorShape",
    "Fault",
    "FaultKind",
    "FieldMode",
    "JinaServer",
    "Latency",
    "Limits",
    "Model",
    "Options",
    "QuotaHeaders",
    "RequestNote",
    "Stats",
    "WindowKind",
]
