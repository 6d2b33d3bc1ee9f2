"""The worker from outside: is it alive, is it ready, how does it stand, what did it count.

Promises that an outage never makes it look dead: `/livez` fails only where a restart would mend something. Read-only,
without secrets, document ids or texts. The only room that serves HTTP.
"""

from streamdex.admin.judgement import Phase, Pulse, Vitals, hindrances
from streamdex.admin.server import AdminServer, Subject

__all__ = ["AdminServer", "Phase", "Pulse", "Subject", "Vitals", "hindrances"]
