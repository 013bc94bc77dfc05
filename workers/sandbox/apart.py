"""What test keys send and what others send never takes the same way out."""

from domain.outgoing import Delivered
from domain.ports import Claim, Sender
from workers.rendering import refused

SANDBOX = "sandbox"
"""What attempts call the provider of test notifications."""
NO_SANDBOX = "A test key sent it, and this worker knows no sandbox. It goes nowhere else."


class Apart:
    """`domain.ports.Sender`: test notifications go to `sandbox`, all others to `live`.

    Without a `sandbox` a test notification is refused for good, and no provider is called. Once the worker has one, its
    dead letter can be replayed.
    """

    def __init__(self, live: Sender, sandbox: Sender | None) -> None:
        self._live, self._sandbox = live, sandbox

    async def send(self, claim: Claim, deadline: float) -> Delivered:
        """One delivery attempt, within `deadline` seconds."""
        if not claim.test:
            return await self._live.send(claim, deadline)
        if self._sandbox is None:
            return refused("no_sandbox", NO_SANDBOX)
        return await self._sandbox.send(claim, deadline)
