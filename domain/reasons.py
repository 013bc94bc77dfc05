"""What the status log keeps of our decisions, under `decided` in an entry's detail.

Versioned JSON without contact points, names or anything that was said to somebody; `domain.explain` makes sentences of
it. It is written where notifications are accepted and delivered, so it holds codes and no text. Nothing here decides.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from domain.notification import Channel
from domain.preferences import Rule
from domain.recipient import Quiet, Why

KEY = "decided"
VERSION = 1


class Named(StrEnum):
    """Who named something that may also be left to us."""

    CALLER = "caller"
    RECIPIENT = "recipient"
    NOBODY = "nobody"


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a notification was accepted; in the first entry of its log.

    `channel`, `version` and `locale` say who named these (`version` is null without a template); `left_out` why the
    recipient got nothing on other channels that there was something to say on.
    """

    channel: Named
    left_out: dict[Channel, Why] = {}
    version: Named | None = None
    locale: Named | None = None
    rule: Rule | None = None
    quiet: Quiet | None = None


class PassedOver(StrEnum):
    """Why a provider was not called."""

    BREAKER_OPEN = "breaker_open"
    PROBED = "probed"
    PACE = "pace"
    NOT_SERVED = "not_served"
    NO_TIME = "no_time"


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider's turn: it was called (as the `probe` of its breaker, perhaps), or passed over until some time."""

    provider: str
    passed_over: PassedOver | None = None
    until: datetime | None = None
    probe: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The providers in the order of their turns, for so many devices; those after the last step had no turn."""

    steps: tuple[Step, ...]
    devices: int = 0


class Attempted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one delivery attempt went about it, decided at `at`; in the entry that says what came of it.

    `suppressed` and `refused` count the recipient's devices that were left out, because they are suppressed or because
    a provider refused them for good before.
    """

    at: datetime
    rule: Rule | None = None
    quiet: Quiet | None = None
    suppressed: int = 0
    refused: int = 0
    routes: tuple[Route, ...] = ()


R = TypeVar("R", Acceptance, Attempted)


def written(decided: Acceptance | Attempted) -> dict[str, Any]:
    """As it stands in a detail."""
    return {KEY: {"v": VERSION, **msgspec.to_builtins(decided)}}


def read(detail: Mapping[str, Any] | None, kind: type[R]) -> R | None:
    """What an entry's detail keeps; None where it keeps nothing, or something of a version that is not known here."""
    kept = (detail or {}).get(KEY)
    if not isinstance(kept, dict) or kept.get("v") != VERSION:
        return None
    try:
        return msgspec.convert(kept, kind)
    except msgspec.ValidationError:
        return None


def routes_of(chosen: Iterable[tuple[Step, ...]]) -> tuple[Route, ...]:
    """One route for all devices that went the same way, in the order in which each way came first."""
    ways: dict[tuple[Any, ...], list[tuple[Step, ...]]] = {}
    for steps in chosen:
        # Until when one was passed over differs by milliseconds from device to device.
        ways.setdefault(tuple((step.provider, step.passed_over, step.probe) for step in steps), []).append(steps)
    return tuple(Route(steps=same[0], devices=len(same)) for same in ways.values())
