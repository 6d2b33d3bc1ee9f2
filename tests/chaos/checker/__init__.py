"""The judge of a chaos campaign: reads what the campaign left behind and says which promises were broken.

It uses nothing of the product's code, but its command `streamdex verify` and its stand-in for Jina as processes of
their own. What an event is, how events rank and what is stored it knows from the README. One module per promise:

| invariant | module |
|---|---|
| I0 the campaign itself: faults fired, nothing ended by itself, the topic holds what was produced | course |
| I1 each offset below the commit has an outcome | settled |
| I2 the collection and its manifests are the fold of the topic | contents, vectors, verify |
| I3 dead letters are the poisoned records, byte for byte, and no others | letters |
| I4 commits never pass what is not settled | settled, watch |
| I5 lag 0 within a minute of healing | course |
| I6 memory, threads and file descriptors are bounded | course |
| I7 tokens are paid once, but for what was in flight | billing, tenure |
| I8 no secret anywhere | secrets |

`judge` needs the services of the campaign; `watch_commits` runs beside the campaign. Everything between is pure.
"""

from chaos.checker.judge import judge
from chaos.checker.report import Report, Violation
from chaos.checker.watch import watch_commits

__all__ = ["Report", "Violation", "judge", "watch_commits"]
