"""What must hold after every fault, looked up in the gateway database and compared with what the mail sink saw."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from api.database import Database, Databases
from domain.notification import FACTS, FINAL, TRANSITIONS, Status

Rows = Sequence[Mapping[str, Any]]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the database and the sink come to. No breaches: every invariant holds.

    `accepted` counts the notifications and `lost` those that have not ended (or are not there). `duplicates` are mails
    beyond the first of each notification, `flagged` those of them that are owned up to; `unknown` counts attempts whose
    outcome nobody knows.
    """

    accepted: int
    statuses: dict[str, int]
    lost: int
    duplicates: int
    flagged: int
    unknown: int
    breaches: list[str]


async def check(
    url: str, mails: Mapping[str, int], *, accepted: Collection[str] = (), allowance: int | None = None
) -> Checked:
    """Check a gateway database in which nothing is under way any more. `mails` are counted by notification.

    `accepted` are those that callers were told of: each must be there. Each notification may have been sent once more
    for each of its outcomes that is unknown; `allowance` names another bound for all of them together (unknown
    outcomes, kills times what was in flight, and lease overruns).
    """
    databases = await Databases.open({"gateway": url}, pool_size=2)
    try:
        return await _check(databases["gateway"], mails, set(accepted), allowance)
    finally:
        await databases.close()


async def _check(database: Database, mails: Mapping[str, int], accepted: set[str], allowance: int | None) -> Checked:
    rows = await database.query("SELECT id, status, sequence, next_at, token, possible_duplicate FROM notifications")
    log = await database.query(
        "SELECT position, notification_id, sequence, status, previous_status FROM status_log ORDER BY position"
    )
    head = (await database.query("SELECT position FROM status_log_head"))[0]["position"]
    horizon = (await database.query("SELECT horizon FROM retention"))[0]["horizon"]
    asked = await database.query("SELECT notification_id AS id FROM attempts WHERE outcome = 'UNKNOWN'")
    unknown = Counter(str(row["id"]) for row in asked)
    missing = accepted - {row["id"] for row in rows}
    again = {id: count - 1 for id, count in mails.items() if count > 1}
    flagged = {row["id"] for row in rows if row["possible_duplicate"]}
    return Checked(
        accepted=len(rows),
        statuses=dict(Counter(row["status"] for row in rows)),
        lost=len(missing) + sum(Status(row["status"]) not in FINAL for row in rows),
        duplicates=sum(again.values()),
        flagged=sum(count for id, count in again.items() if id in flagged),
        unknown=unknown.total(),
        breaches=[
            *(f"{id}: it was accepted, and it is nowhere" for id in sorted(missing)),
            *_of_positions(log, horizon, head),
            *_of_histories(log),
            *_of_rows(rows, log),
            *_of_mails(rows, log, mails, unknown),
            *_of_duplicates(again, flagged, unknown, allowance),
        ],
    )


def _of_positions(log: Rows, horizon: int, head: int) -> Iterator[str]:
    """All from behind the horizon on; those before it are of notifications that are kept."""
    if [row["position"] for row in log if row["position"] > horizon] != list(range(horizon + 1, head + 1)):
        yield f"the log's positions are not {horizon + 1} to {head}"


def _of_histories(log: Rows) -> Iterator[str]:
    """Each notification's entries count 1, 2, 3, …, follow one another, and end in one final status."""
    for id, entries in _by_notification(log).items():
        if [entry["sequence"] for entry in entries] != list(range(1, len(entries) + 1)):
            yield f"{id}: its sequence has holes or twins"
        before: str | None = None
        for entry in entries:
            if entry["previous_status"] != before:
                yield f"{id}: {entry['status']} says that it follows {entry['previous_status']}, not {before}"
            if before is not None and Status(entry["status"]) not in TRANSITIONS[Status(before)]:
                yield f"{id}: {before} was followed by {entry['status']}"
            before = entry["status"]
        if before is not None and Status(before) not in FINAL:
            yield f"{id}: it has not ended, it is {before}"


def _of_rows(rows: Rows, log: Rows) -> Iterator[str]:
    """A row says what its log says, and a final one is at rest."""
    last = {id: entries[-1] for id, entries in _by_notification(log).items()}
    for row in rows:
        entry = last.get(row["id"])
        if entry is None or (entry["status"], entry["sequence"]) != (row["status"], row["sequence"]):
            yield f"{row['id']}: its row and its log disagree"
        if (row["next_at"] is None) is not (Status(row["status"]) in FINAL):
            yield f"{row['id']}: it is {row['status']}, and its clock says otherwise"
        if row["token"] is not None and Status(row["status"]) in FINAL:
            yield f"{row['id']}: it is {row['status']} and still claimed"


def _of_mails(rows: Rows, log: Rows, mails: Mapping[str, int], unknown: Mapping[str, int]) -> Iterator[str]:
    """What is SENT was seen, and what was seen is SENT, unless nobody knows."""
    sent = {entry["notification_id"] for entry in log if entry["status"] == Status.SENT}
    yield from (f"{id}: it is SENT, and the sink never saw it" for id in sorted(sent - mails.keys()))
    known = {row["id"]: Status(row["status"]) for row in rows}
    for id in sorted(mails):
        if id not in known:
            yield f"{id}: the sink saw it, and it is nowhere"
        elif known[id] not in FACTS and id not in sent and not unknown.get(id):
            yield f"{id}: the sink saw it, and it is {known[id]}"


def _of_duplicates(
    again: Mapping[str, int], flagged: Collection[str], unknown: Mapping[str, int], allowance: int | None
) -> Iterator[str]:
    """What was seen twice says so, and there is a reason for it."""
    for id, count in again.items():
        if id not in flagged:
            yield f"{id}: the sink saw it {count + 1} times, and it is not flagged as a possible duplicate"
        if allowance is None and count > unknown.get(id, 0):
            yield f"{id}: the sink saw it {count + 1} times, and {unknown.get(id, 0)} of its outcomes are unknown"
    if allowance is not None and (total := sum(again.values())) > allowance:
        yield f"{total} duplicates, and at most {allowance} may be"


def _by_notification(log: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    histories: dict[str, list[Mapping[str, Any]]] = {}
    for entry in log:
        histories.setdefault(entry["notification_id"], []).append(entry)
    return histories
