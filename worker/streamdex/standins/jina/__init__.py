"""A stand-in for the Jina embedding API: its requests, answers, errors and limits, with lexical vectors.

Promises the shapes and the strictness of the hosted service, limits that are never exceeded under the chosen window,
and faults that say how often they fired. It promises no meaning: its vectors know words, not what they say.
"""

from streamdex.standins.jina.answers import ErrorShape
from streamdex.standins.jina.faults import JinaFault, JinaFaultKind
from streamdex.standins.jina.limits import Limits
from streamdex.standins.jina.models import MODELS, Model
from streamdex.standins.jina.options import Latency, Options, QuotaHeaders
from streamdex.standins.jina.requests import MAX_INPUTS, FieldMode
from streamdex.standins.jina.server import JinaServer
from streamdex.standins.jina.stats import JinaStats, RequestNote
from streamdex.standins.jina.windows import WindowKind

__all__ = [
    "MAX_INPUTS",
    "MODELS",
    "ErrorShape",
    "FieldMode",
    "JinaFault",
    "JinaFaultKind",
    "JinaServer",
    "JinaStats",
    "Latency",
    "Limits",
    "Model",
    "Options",
    "QuotaHeaders",
    "RequestNote",
    "WindowKind",
]
