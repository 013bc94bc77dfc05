"""Which principals the keys that were seen a moment ago belong to, so that most requests ask no database."""

import time
from collections import OrderedDict
from collections.abc import Collection, Mapping

from api.security import Principal

_SIZE = 10_000


class KeyMemory:
    """Principals by the hash of their key, each for `ttl` seconds; the last ones found, so many at most."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self.forgettings = 0
        """How often something was forgotten. Note it before a read, and give it to `keep`."""

    def get(self, key_hash: str) -> Principal | None:
        """Whose key it is, if that is remembered."""
        until, principal = self._known.get(key_hash, (0.0, None))
        return principal if time.monotonic() < until else None

    def keep(self, found: Mapping[str, Principal], forgettings: int) -> None:
        """Remember what was read, unless something was forgotten meanwhile: it may be the very thing."""
        if forgettings != self.forgettings:
            return
        until = time.monotonic() + self._ttl
        for key_hash, principal in found.items():
            self._known[key_hash] = (until, principal)
            self._known.move_to_end(key_hash)
        while len(self._known) > _SIZE:
            self._known.popitem(last=False)

    def forget(self, ids: Collection[str]) -> None:
        """These keys are known no longer."""
        self.forgettings += 1
        for key_hash in [key_hash for key_hash, (_, principal) in self._known.items() if principal.key_id in ids]:
            del self._known[key_hash]

    def forget_all(self) -> None:
        """No key is known any longer."""
        self.forgettings += 1
        self._known.clear()
