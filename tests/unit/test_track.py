"""`track`: whatever is reported in whatever order, the row ends where the claims say, and the log tells one story."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.events import Attempt, StatusChanged
from domain.notification import CLAIMED_ONLY, FACTS, FINAL, TRANSITIONS, Outcome, Progress, Status
from domain.track import track, track_all
from tests.unit.protocol_model import ACTIONS, LATER, NOW, Step, World, endings, flat

PROTOCOL = """
SCHEDULED, ACCEPTED | QUEUED SENDING CANCELLED EXPIRED SKIPPED FAILED facts
QUEUED              | SENDING RETRYING SCHEDULED FAILED CANCELLED EXPIRED SKIPPED facts
SENDING             | RETRYING SCHEDULED FAILED SKIPPED EXPIRED facts
RETRYING            | QUEUED SENDING SCHEDULED FAILED CANCELLED EXPIRED SKIPPED facts
SENT                | DELIVERED BOUNCED
DELIVERED           | BOUNCED
FAILED              | QUEUED
BOUNCED, SKIPPED, CANCELLED, EXPIRED |
"""
"""The table of `docs/protocol.md`."""

UNFINISHED = [status for status in Status if status not in FINAL]

firsts = st.sampled_from([Status.ACCEPTED, Status.SCHEDULED])
steps = st.lists(st.builds(Step, st.sampled_from(ACTIONS), st.integers(0, 5)), min_size=10, max_size=50)
randoms = st.randoms(use_true_random=False)


def script(text: str) -> list[Step]:
    """Steps by name."""
    return [Step(action) for action in text.split()]


def row(status: Status, **changes: object) -> Progress:
    clock = None if status in FINAL else LATER
    plain = Progress(id="ntf_1", status=status, sequence=4, attempt=2, attempts_used=1, next_at=clock)
    return msgspec.structs.replace(plain, **changes)


def said(status: Status, **more: object) -> StatusChanged:
    return StatusChanged(notification_id="ntf_1", status=status, occurred_at=NOW, **more)  # type: ignore[arg-type]


def tried(outcome: Outcome, device_id: str | None) -> Attempt:
    return Attempt(number=2, provider="fcm", outcome=outcome, started_at=NOW, duration_ms=1, device_id=device_id)


def shuffled(changes: Sequence[StatusChanged], heard: Sequence[StatusChanged], random: Random) -> list[StatusChanged]:
    """All of `changes` in any order, some of them twice, and some of what was heard before."""
    again = [change for change in (*changes, *heard) if random.random() < 0.4]
    mixed = [*changes, *again]
    random.shuffle(mixed)
    return mixed


def settle(start: Progress, changes: Sequence[StatusChanged]) -> Progress:
    """The row after all of them."""
    return track_all({start.id: start}, changes, NOW).rows.get(start.id, start)


class TestAnyHistory:
    @given(first=firsts, steps=steps)
    @settings(max_examples=150)
    @example(Status.ACCEPTED, script("take claim take cancel accepted next next"))
    def test_one_story_with_one_ending(self, first: Status, steps: list[Step]) -> None:
        world = World(first)
        world.play(steps)
        for entry in world.entries:
            assert entry.status in TRANSITIONS[entry.previous_status]
            assert entry.previous_status is not Status.FAILED or entry.change.replay
        lives = endings(world.entries)
        assert all(life == [Status.FAILED] for life in lives[:-1]), "only FAILED is replayed"
        for life in lives:
            facts = [status for status in (Status.SENT, Status.DELIVERED, Status.BOUNCED) if status in life]
            assert life == facts or len(life) == 1

    @given(first=firsts, steps=steps, one=randoms, other=randoms)
    @settings(max_examples=150)
    @example(Status.ACCEPTED, script("take claim transient next next take claim transient"), Random(0), Random(1))
    @example(Status.ACCEPTED, script("take claim take claim accepted permanent"), Random(1), Random(6))
    def test_the_order_of_what_is_outstanding_does_not_matter(
        self, first: Status, steps: list[Step], one: Random, other: Random
    ) -> None:
        world = World(first)
        world.play(steps)
        outstanding, heard = flat(world.unheard), flat(world.heard)
        this = settle(world.row, shuffled(outstanding, heard, one))
        that = settle(world.row, shuffled(outstanding, heard, other))
        for after in (this, that):
            assert (after.next_at is None) is after.final
        assert (this.attempt, this.token is None, this.final) == (that.attempt, that.token is None, that.final)
        if this.status is not that.status:
            self._check_contradiction(world, this, that)

    @staticmethod
    def _check_contradiction(world: World, this: Progress, that: Progress) -> None:
        """The one case where order decides: the holder gives up while a zombie was accepted. Both are told."""
        facts = {change.status for change in flat(world.unheard)} & FACTS
        given_up, sent = sorted((this, that), key=lambda after: after.status in FACTS)
        assert facts
        assert given_up.status in CLAIMED_ONLY & FINAL
        assert sent.status in FACTS
        assert given_up.possible_duplicate or Status.SENT not in facts

    @given(first=firsts, steps=steps)
    @settings(max_examples=100)
    def test_recording_the_same_again_changes_nothing(self, first: Status, steps: list[Step]) -> None:
        world = World(first)
        world.play([*steps, *[Step("next")] * len(steps)])
        before = world.row
        again = settle(before, flat(world.heard))
        assert msgspec.structs.replace(again, possible_duplicate=before.possible_duplicate) == before

    @given(first=firsts, steps=steps)
    @settings(max_examples=100)
    def test_it_always_ends_when_it_is_taken_claimed_and_heard(self, first: Status, steps: list[Step]) -> None:
        world = World(first)
        world.play([*steps, *script("purge")])
        world.play(script("take next take next claim accepted next") * 4)
        assert world.row.final


class TestTable:
    def test_it_is_the_protocols(self) -> None:
        table: dict[Status, frozenset[Status]] = {}
        for line in PROTOCOL.strip().splitlines():
            sources, targets = line.split("|")
            allowed = frozenset(Status(name) for name in targets.split() if name != "facts")
            for source in sources.split(","):
                table[Status(source.strip())] = allowed | (FACTS if "facts" in targets else frozenset())
        assert table == TRANSITIONS

    @pytest.mark.parametrize("status", list(Status))
    def test_a_final_status_is_followed_by_facts_or_a_replay_only(self, status: Status) -> None:
        if status in FINAL:
            assert TRANSITIONS[status] <= {Status.DELIVERED, Status.BOUNCED, Status.QUEUED}


class TestTokens:
    """R4."""

    @pytest.mark.parametrize("status", sorted(CLAIMED_ONLY))
    @pytest.mark.parametrize("token", [None, "clm_old"])
    def test_only_the_holder_speaks_for_its_attempt(self, status: Status, token: str | None) -> None:
        for held in (None, "clm_new"):
            before = row(Status.QUEUED, token=held)
            assert track(before, said(status, attempt=2, token=token), NOW) == (before, [], "stale claim")

    @pytest.mark.parametrize("status", sorted(CLAIMED_ONLY))
    def test_the_holder_is_believed(self, status: Status) -> None:
        after, entries, why = track(row(Status.QUEUED, token="clm"), said(status, attempt=2, token="clm"), NOW)
        assert why is None
        assert after.status is status
        assert [(entry.previous_status, entry.status) for entry in entries] == [(Status.QUEUED, status)]

    @pytest.mark.parametrize("before", UNFINISHED)
    @pytest.mark.parametrize("fact", sorted(FACTS))
    def test_facts_hold_whoever_has_the_claim(self, before: Status, fact: Status) -> None:
        after, entries, why = track(row(before, token="clm_new"), said(fact, attempt=1, token="clm_old"), NOW)
        assert why is None
        assert (after.status, after.token, after.next_at) == (fact, None, None)
        assert len(entries) == 1

    @pytest.mark.parametrize("fact", sorted(FACTS))
    def test_there_is_no_fact_without_an_attempt(self, fact: Status) -> None:
        before = row(Status.QUEUED, attempt=0)
        assert track(before, said(fact), NOW) == (before, [], "there was no attempt")

    def test_a_bounce_that_beats_our_own_sent_stands(self) -> None:
        holder = row(Status.SENDING, token="clm")
        bounced, _, _ = track(holder, said(Status.BOUNCED), NOW)
        after, entries, why = track(bounced, said(Status.SENT, token="clm"), NOW)
        assert (after, entries, why) == (bounced, [], "BOUNCED is not followed by SENT")

    @pytest.mark.parametrize("status", [Status.FAILED, Status.EXPIRED, Status.SKIPPED, Status.CANCELLED])
    def test_a_late_sent_is_no_status_but_says_possible_duplicate(self, status: Status) -> None:
        before = row(status)
        after, entries, why = track(before, said(Status.SENT, attempt=1, token="clm_old"), NOW)
        assert after == msgspec.structs.replace(before, possible_duplicate=True)
        assert entries == []
        assert why == f"{status} is not followed by SENT"


class TestQueued:
    """R5."""

    @pytest.mark.parametrize("status", [Status.ACCEPTED, Status.SCHEDULED, Status.RETRYING])
    def test_it_applies_to_what_was_published_for_this_attempt(self, status: Status) -> None:
        before = row(status)
        after, _, why = track(before, said(Status.QUEUED, attempt=2), NOW)
        assert why is None
        assert after.status is Status.QUEUED
        assert after.next_at == before.next_at, "the dispatcher's clock is not touched"

    @pytest.mark.parametrize(
        ("before", "attempt", "why"),
        [
            (row(Status.ACCEPTED), 1, "it was published for an earlier attempt"),
            (row(Status.RETRYING), 1, "it was published for an earlier attempt"),
            (row(Status.ACCEPTED, token="clm"), 2, "it is claimed already"),
            (row(Status.FAILED), 2, "FAILED is not followed by QUEUED"),
            (row(Status.SENDING), 2, "SENDING is not followed by QUEUED"),
            (row(Status.QUEUED), 2, "QUEUED is not followed by QUEUED"),
        ],
    )
    def test_it_never_overrides_what_came_since(self, before: Progress, attempt: int, why: str) -> None:
        assert track(before, said(Status.QUEUED, attempt=attempt), NOW) == (before, [], why)


class TestCancel:
    """R7."""

    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.ACCEPTED, Status.QUEUED, Status.RETRYING])
    def test_before_an_attempt_it_ends_the_notification(self, status: Status) -> None:
        after, entries, why = track(row(status), said(Status.CANCELLED, reason="by the caller"), NOW)
        assert why is None
        assert (after.status, after.next_at, after.reason) == (Status.CANCELLED, None, "by the caller")
        assert len(entries) == 1

    @pytest.mark.parametrize("changes", [{"token": "clm"}, {"uncertain": True}])
    def test_too_late_while_an_attempt_is_under_way_or_its_outcome_unknown(self, changes: dict[str, object]) -> None:
        before = row(Status.QUEUED, **changes)
        why = "an attempt is under way or its outcome is unknown"
        assert track(before, said(Status.CANCELLED), NOW) == (before, [], why)

    @pytest.mark.parametrize("status", [Status.SENDING, *sorted(FINAL)])
    def test_too_late_once_it_is_sent_or_over(self, status: Status) -> None:
        before = row(status)
        assert track(before, said(Status.CANCELLED), NOW) == (before, [], f"{status} is not followed by CANCELLED")


class TestReplay:
    """R9."""

    def test_failed_starts_again(self) -> None:
        after, entries, why = track(row(Status.FAILED, reason="no"), said(Status.QUEUED, replay=True), NOW)
        assert why is None
        assert (after.status, after.attempt, after.attempts_used) == (Status.QUEUED, 2, 0)
        assert (after.token, after.next_at, after.reason) == (None, NOW, None)
        assert len(entries) == 1

    @pytest.mark.parametrize(("deliver_by", "why"), [(NOW, "deliver_by has passed"), (LATER, None)])
    def test_what_would_be_too_late_is_not_replayed(self, deliver_by: datetime, why: str | None) -> None:
        before = row(Status.FAILED, deliver_by=deliver_by)
        after, _, refusal = track(before, said(Status.QUEUED, replay=True), NOW)
        assert refusal == why
        assert (after == before) is (why is not None)

    @pytest.mark.parametrize("status", [status for status in Status if status is not Status.FAILED])
    def test_nothing_else_is_replayed(self, status: Status) -> None:
        before = row(status)
        assert track(before, said(Status.QUEUED, replay=True), NOW) == (before, [], f"{status} is not replayed")


class TestImpliedQueued:
    """A claim proves that the row was published, so what comes before its QUEUED brings it along."""

    @pytest.mark.parametrize(
        ("before", "change"),
        [
            (Status.ACCEPTED, Status.RETRYING),
            (Status.SCHEDULED, Status.RETRYING),
            (Status.ACCEPTED, Status.SCHEDULED),
            (Status.SCHEDULED, Status.SCHEDULED),
            (Status.RETRYING, Status.RETRYING),
        ],
    )
    def test_it_is_logged_in_between(self, before: Status, change: Status) -> None:
        after, entries, why = track(
            row(before, token="clm"), said(change, attempt=2, token="clm", retry_at=LATER, reason="busy"), NOW
        )
        assert why is None
        assert [(entry.previous_status, entry.status, entry.sequence) for entry in entries] == [
            (before, Status.QUEUED, 5),
            (Status.QUEUED, change, 6),
        ]
        assert (after.sequence, after.next_at, after.token) == (6, LATER, None)

    @pytest.mark.parametrize("before", [Status.ACCEPTED, Status.SCHEDULED])
    def test_not_where_the_table_needs_none(self, before: Status) -> None:
        _, entries, _ = track(row(before, token="clm"), said(Status.SENDING, attempt=2, token="clm"), NOW)
        assert [entry.status for entry in entries] == [Status.SENDING]


class TestWhatAChangeBrings:
    def test_a_retry_sets_the_clock_and_ends_the_claim(self) -> None:
        change = said(Status.RETRYING, token="clm", retry_at=LATER, uses_attempt=True, uncertain=True, provider="smtp")
        after, _, _ = track(row(Status.SENDING, token="clm", settled=True, next_at=NOW), change, NOW)
        assert (after.next_at, after.token, after.settled) == (LATER, None, False)
        assert (after.attempts_used, after.uncertain, after.provider) == (2, True, "smtp")

    def test_devices_that_refused_for_good_add_up_until_a_replay(self) -> None:
        def retrying(**outcomes: Outcome) -> StatusChanged:
            attempts = [tried(outcome, device_id=device) for device, outcome in outcomes.items()]
            return said(Status.RETRYING, token="clm", retry_at=LATER, attempts=attempts)

        after, _, _ = track(
            row(Status.SENDING, token="clm"), retrying(one=Outcome.PERMANENT, two=Outcome.TRANSIENT), NOW
        )
        assert after.refused_devices == {"one"}
        again = msgspec.structs.replace(after, status=Status.SENDING, token="clm")
        after, _, _ = track(again, retrying(two=Outcome.PERMANENT, three=Outcome.UNKNOWN), NOW)
        assert after.refused_devices == {"one", "two"}
        failed = msgspec.structs.replace(after, status=Status.FAILED)
        replayed, _, _ = track(failed, said(Status.QUEUED, replay=True), NOW)
        assert replayed.refused_devices == frozenset()

    def test_of_a_device_that_the_caller_named_by_its_token_there_is_no_id_to_remember(self) -> None:
        change = said(Status.RETRYING, token="clm", retry_at=LATER, attempts=[tried(Outcome.PERMANENT, device_id=None)])
        after, _, _ = track(row(Status.SENDING, token="clm"), change, NOW)
        assert after.refused_devices == frozenset()

    def test_a_confirmation_keeps_who_sent_it(self) -> None:
        sent = said(Status.SENT, provider="smtp", provider_message_id="m1")
        after = settle(row(Status.SENDING), [sent, said(Status.DELIVERED)])
        assert (after.provider, after.provider_message_id) == ("smtp", "m1")

    def test_sending_leaves_the_lease_alone(self) -> None:
        before = row(Status.QUEUED, token="clm", next_at=NOW + timedelta(seconds=60))
        after, _, _ = track(before, said(Status.SENDING, token="clm"), NOW)
        assert (after.next_at, after.token) == (before.next_at, "clm")

    def test_a_batch_answers_only_for_rows_that_changed_and_knows_strangers(self) -> None:
        rows = {id: msgspec.structs.replace(row(Status.QUEUED), id=id) for id in ("a", "b")}
        changes = [msgspec.structs.replace(said(Status.SENT), notification_id=id) for id in ("a", "nobody", "a", "a")]
        tracked = track_all(rows, changes, NOW)
        assert set(tracked.rows) == {"a"}
        assert [entry.change for entry in tracked.entries] == [changes[0]]
        assert [one.why for one in tracked.ignored] == [
            "no such notification",
            "SENT is not followed by SENT",
            "SENT is not followed by SENT",
        ]
