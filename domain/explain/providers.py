"""Which provider was chosen, and why those before it were not called."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from domain.events import Attempt
from domain.explain.told import DecisionKind, Explanation, explain
from domain.explain.wording import answer_of, count, moment
from domain.reasons import PassedOver, Route, Step

_WHY = {
    PassedOver.BREAKER_OPEN: "its breaker was open",
    PassedOver.PROBED: "its breaker was half open and another call was the probe",
    PassedOver.PACE: "its pace had no room",
    PassedOver.NOT_SERVED: "it does not serve this kind of device",
    PassedOver.NO_TIME: "no time was left for it",
}


def chosen(routes: Sequence[Route], calls: Sequence[Attempt], at: datetime, attempt: int) -> Iterator[Explanation]:
    """One decision for each way that devices went; `calls` are those of this attempt."""
    answers = {call.provider: call for call in calls}
    for route in routes:
        told = "; ".join(_steps(route.steps, answers))
        sentence = f"{told}." if route.devices <= 1 else f"For {count(route.devices, 'device')}: {told}."
        yield explain(
            DecisionKind.PROVIDER,
            sentence,
            at,
            attempt,
            providers=list(route.steps),
            devices=route.devices or None,
        )


def _steps(steps: Sequence[Step], answers: dict[str, Attempt]) -> Iterator[str]:
    before: Step | None = None
    for place, step in enumerate(steps):
        if step.passed_over is not None:
            until = "" if step.until is None else f" until {moment(step.until)}"
            yield f"{step.provider} was passed over, because {_WHY[step.passed_over]}{until}"
            continue
        told = "the first in order" if place == 0 else "the next in order"
        if before is not None:
            failed = answers.get(before.provider)
            told = f"because {answer_of(failed) if failed else f'{before.provider} failed'}"
        probe = ", as the probe of its half-open breaker" if step.probe else ""
        yield f"{step.provider} was called, {told}{probe}"
        before = step
