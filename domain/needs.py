"""Which variables a body needs, and which of them a recipient lacks. A batch asks this a thousand times over."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from domain.template import missing


class Needs:
    """What one body needs, given what all recipients share. A recipient's own variables replace shared ones whole.

    Each answer costs what the recipient's own variables cost, not what the body needs.
    """

    def __init__(self, names: Collection[str], shared: Mapping[str, Any]) -> None:
        self._missing = missing(names, shared)
        self._by_head: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._by_head[_head(name)].append(name)

    def missing(self, own: Mapping[str, Any] | None) -> tuple[str, ...]:
        """The names (dotted paths) that this recipient lacks, sorted."""
        if not own:
            return self._missing
        asked = [name for head in own for name in self._by_head.get(head, ())]
        kept = [name for name in self._missing if _head(name) not in own]
        return tuple(sorted((*kept, *missing(asked, own))))


def _head(name: str) -> str:
    return name.partition(".")[0]
