"""Faults on the links between workers and their neighbours."""

from typing import Any

from chaos.proxy import Link, LinkFault, Mode
from chaos.stage import Stage


class LinkBroken:
    """One fault on one worker's link to a neighbour, or on everyone's."""

    def __init__(self, stage: Stage, pick: float, parameters: dict[str, Any]) -> None:
        self._stage = stage
        self._pick = pick
        self._parameters = parameters
        self._fault = LinkFault(Mode(parameters["mode"]), parameters["delay_s"], parameters["rate_bytes"])
        self._links: dict[int, Link] = {}  # by slot

    async def start(self) -> bool:
        """Set it on the links of workers that run, as far as those have no fault already."""
        name = self._parameters["link"]
        running = {worker.slot: self._stage.links[worker.slot, name] for worker in self._stage.fleet.running}
        free = [slot for slot, link in running.items() if link.fault is None]
        if free and not self._parameters["everyone"]:
            free = [free[int(self._pick * len(free))]]
        self._links = {slot: running[slot] for slot in free}
        self._tell("links_broken")
        for link in self._links.values():
            link.set(self._fault)
        return bool(free)

    def _tell(self, kind: str) -> None:
        if self._links:
            self._stage.run.event(kind, link=self._parameters["link"], slots=list(self._links))

    async def hits(self) -> int:
        """Connections ended, and pieces of data held back or swallowed."""
        return self._fault.hits

    async def end(self) -> None:
        """Take it off."""
        for link in self._links.values():
            link.heal(self._fault)
        self._tell("links_mended")
