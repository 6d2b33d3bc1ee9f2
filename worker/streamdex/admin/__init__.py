"""The worker seen over HTTP: is it alive, is it ready, what is its status, what has it counted.

An outage never makes the worker look dead: `/livez` fails only where a restart would fix something. All of it is
read-only and shows no secret, document id or text.
"""

from streamdex.admin.health import HealthSnapshot, Phase, unready_reasons
from streamdex.admin.server import AdminServer

__all__ = ["AdminServer", "HealthSnapshot", "Phase", "unready_reasons"]
