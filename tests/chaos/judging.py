"""Asks the checker."""

import json
from pathlib import Path

from chaos.checker import Report, judge


async def judged(run: Path) -> Report:
    """What the run has violated up to now; also kept as `report.json`."""
    report = await judge(run)
    kept = {"violations": [str(violation) for violation in report.violations], "figures": report.figures}
    (run / "report.json").write_text(json.dumps(kept, indent=2))
    return report
