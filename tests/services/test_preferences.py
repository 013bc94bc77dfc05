"""What users choose, and what follows from it, on both engines."""

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.users.client import UsersClient
from api.users.inputs import MAX_CATEGORIES_ASKED
from api.users.preferences import SetPreferences, permissions
from api.users.rows import read_preferences, write_preferences
from domain.changes import Kind
from domain.errors import NotFound, ValidationFailed
from domain.notification import Channel, Priority
from domain.preferences import MAX_PREFERENCES, ChannelPreference, Preferences, QuietHours
from domain.recipient import Recipient
from tests.services.user_service import UserService

NIGHT = {"from": "22:00", "to": "07:00"}
NO_MAIL = {"channel": "EMAIL", "category": None, "enabled": False}
NEWS_BY_MAIL = {"channel": "EMAIL", "category": "news", "enabled": True}
NO_PUSH = {"channel": "PUSH", "category": "marketing", "enabled": False}


async def chosen(service: UserService, user_id: str) -> tuple[list[Any], Any]:
    """The channels and the quiet hours."""
    data = await service.data("GET", f"/v1/users/{user_id}/preferences")
    return data.get("channels", []), data.get("quiet_hours")


async def test_at_first_nothing_is_chosen(service: UserService) -> None:
    ann = await service.user()
    assert await chosen(service, ann) == ([], None)


async def test_what_is_set_replaces_everything(service: UserService) -> None:
    ann = await service.user()
    path = f"/v1/users/{ann}/preferences"
    await service.data("PUT", path, {"channels": [NO_MAIL, NEWS_BY_MAIL], "quiet_hours": NIGHT})
    assert await chosen(service, ann) == ([NO_MAIL, NEWS_BY_MAIL], NIGHT)
    await service.data("PUT", path, {"channels": [NO_PUSH]})
    assert await chosen(service, ann) == ([NO_PUSH], None)
    await service.data("PUT", path, {})
    assert await chosen(service, ann) == ([], None)


class TestOneChoice:
    async def test_it_takes_the_place_of_the_one_for_the_same_and_leaves_the_rest(self, service: UserService) -> None:
        ann = await service.user()
        path = f"/v1/users/{ann}/preferences"
        await service.data("PUT", path, {"channels": [NO_MAIL, NEWS_BY_MAIL], "quiet_hours": NIGHT})
        no_news = {**NEWS_BY_MAIL, "enabled": False}
        for _ in range(2):
            await service.data("PUT", f"{path}/choice", no_news)
        assert await chosen(service, ann) == ([NO_MAIL, no_news], NIGHT)

    async def test_those_made_at_the_same_time_all_count(self, service: UserService, users: UsersClient) -> None:
        ann = await service.user()
        names = [f"category-{number}" for number in range(10)]
        choices = [ChannelPreference(channel=Channel.EMAIL, category=name, enabled=False) for name in names]
        await asyncio.gather(*(users.choose(ann, choice) for choice in choices))
        assert sorted(choice["category"] for choice in (await chosen(service, ann))[0]) == names
        assert (await users.lookup([ann]))[ann].value.preferences.refusal(Channel.EMAIL, names[0]) is not None

    async def test_one_too_many_is_refused_and_one_in_place_of_another_is_not(self, service: UserService) -> None:
        ann = await service.user()
        path = f"/v1/users/{ann}/preferences"
        full = [{**NO_PUSH, "category": f"c{number}"} for number in range(MAX_PREFERENCES)]
        await service.data("PUT", path, {"channels": full})
        assert await service.problems("PUT", f"{path}/choice", NO_MAIL) == (422, [("channels", "too_many")])
        await service.data("PUT", f"{path}/choice", {**full[0], "enabled": True})
        assert len((await chosen(service, ann))[0]) == MAX_PREFERENCES

    async def test_of_nobody_it_is_not_found(self, users: UsersClient) -> None:
        with pytest.raises(NotFound):
            await users.choose("nobody", ChannelPreference(channel=Channel.EMAIL, enabled=False))


async def test_what_is_changed_leaves_the_rest(service: UserService) -> None:
    ann = await service.user()
    path = f"/v1/users/{ann}/preferences"
    await service.data("PUT", path, {"channels": [NO_MAIL], "quiet_hours": NIGHT})
    await service.data("PATCH", path, {"channels": [NO_PUSH]})
    assert await chosen(service, ann) == ([NO_PUSH], NIGHT)
    await service.data("PATCH", path, {})
    assert await chosen(service, ann) == ([NO_PUSH], NIGHT)
    await service.data("PATCH", path, {"quiet_hours": None})
    assert await chosen(service, ann) == ([NO_PUSH], None)
    await service.data("PATCH", path, {"quiet_hours": NIGHT})
    assert await chosen(service, ann) == ([NO_PUSH], NIGHT)


async def test_users_and_recipients_carry_what_they_chose(service: UserService) -> None:
    ann, bob = await service.user(), await service.user()
    await service.data("PUT", f"/v1/users/{ann}/preferences", {"channels": [NO_MAIL], "quiet_hours": NIGHT})
    expected = Preferences(
        channels=(ChannelPreference(channel=Channel.EMAIL, enabled=False),),
        quiet_hours=QuietHours(start="22:00", end="07:00"),
    )
    recipients = {found.user_id: found.preferences for found in await service.repository.lookup([ann, bob])}
    assert recipients == {ann: expected, bob: Preferences()}
    assert (await service.repository.get(ann)).preferences == expected
    assert (await service.data("GET", f"/v1/users/{ann}"))["preferences"]["quiet_hours"] == NIGHT


async def test_a_change_of_preferences_is_told_and_dated(service: UserService) -> None:
    ann = await service.user()
    before = await service.repository.get(ann)
    await service.data("PATCH", f"/v1/users/{ann}/preferences", {"quiet_hours": NIGHT})
    assert service.told == [(Kind.USER, {ann})]
    after = await service.repository.get(ann)
    assert after.updated_at > before.updated_at
    assert after.created_at == before.created_at


async def test_changes_at_the_same_time_do_not_undo_each_other(service: UserService) -> None:
    for _ in range(10):
        path = f"/v1/users/{(ann := await service.user())}/preferences"
        await asyncio.gather(
            service.data("PATCH", path, {"channels": [NO_MAIL]}),
            service.data("PATCH", path, {"quiet_hours": NIGHT}),
        )
        assert await chosen(service, ann) == ([NO_MAIL], NIGHT)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({"channels": [{"channel": "FAX", "enabled": True}]}, "channels.0.channel", "enum"),
        ({"channels": [{"channel": "EMAIL"}]}, "channels.0.enabled", "missing"),
        ({"channels": [{"channel": "EMAIL", "enabled": "yes"}]}, "channels.0.enabled", "bool_type"),
        ({"channels": [NO_MAIL, NO_PUSH, NO_MAIL]}, "channels.2", "duplicate"),
        ({"channels": [NO_PUSH, {**NO_PUSH, "enabled": True}]}, "channels.1", "duplicate"),
        ({"channels": [{**NO_MAIL, "category": ""}]}, "channels.0.category", "too_short"),
        ({"channels": [{**NO_MAIL, "category": "x" * 201}]}, "channels.0.category", "too_long"),
        ({"channels": [{**NO_MAIL, "category": "nul\0"}]}, "channels.0.category", "value_error"),
        ({"channels": [{**NO_MAIL, "surname": "x"}]}, "channels.0.surname", "extra_forbidden"),
        ({"channels": None}, "channels", "list_type"),
        ({"quiet_hours": {"from": "22:00"}}, "quiet_hours.to", "missing"),
        ({"quiet_hours": {"start": "22:00", **NIGHT}}, "quiet_hours.start", "extra_forbidden"),
        ({"quiet_hours": {"from": "24:00", "to": "07:00"}}, "quiet_hours.from", "value_error"),
        ({"quiet_hours": {"from": "22:00", "to": "7:00"}}, "quiet_hours.to", "value_error"),
        ({"quiet_hours": {"from": "22:00", "to": "07:00\n"}}, "quiet_hours.to", "value_error"),
        ({"quiet_hours": {"from": "22:00", "to": "22:00"}}, "quiet_hours.to", "equal"),
        ({"quiet": NIGHT}, "quiet", "extra_forbidden"),
    ],
)
async def test_wrong_fields_are_named_and_change_nothing(
    service: UserService, method: str, body: Any, path: str, code: str
) -> None:
    ann = await service.user()
    preferences = f"/v1/users/{ann}/preferences"
    await service.data("PUT", preferences, {"channels": [NO_PUSH], "quiet_hours": NIGHT})
    service.told.clear()
    assert await service.problems(method, preferences, body) == (422, [(path, code)])
    assert await chosen(service, ann) == ([NO_PUSH], NIGHT)
    assert service.told == []


async def test_half_a_character_is_no_category(service: UserService) -> None:
    ann = await service.user()
    body = '{"channels": [{"channel": "EMAIL", "category": "\\ud800", "enabled": true}]}'
    status, fields = await service.problems("PUT", f"/v1/users/{ann}/preferences", body)
    assert (status, [path for path, _ in fields]) == (422, ["channels.0.category"])


async def test_the_number_of_preferences_is_bounded(service: UserService) -> None:
    ann = await service.user()
    path = f"/v1/users/{ann}/preferences"
    many = [{**NO_MAIL, "category": f"category {number}"} for number in range(MAX_PREFERENCES + 1)]
    assert await service.problems("PUT", path, {"channels": many}) == (422, [("channels", "too_long")])
    await service.data("PUT", path, {"channels": many[:-1]})
    assert (await chosen(service, ann))[0] == many[:-1]


@pytest.mark.parametrize(("method", "path"), [("GET", "preferences"), ("PUT", "preferences"), ("GET", "permissions")])
async def test_who_is_not_there_chooses_nothing(service: UserService, method: str, path: str) -> None:
    status, answer = await service.call(method, f"/v1/users/usr_none/{path}", {} if method == "PUT" else None)
    assert (status, answer["error"]["code"], answer["error"]["id"]) == (404, "NOT_FOUND", "usr_none")


# --------------------------------------------------------------------------------------------------- permissions


async def allowed(service: UserService, user_id: str, query: str = "") -> dict[tuple[str, str], Any]:
    """Each permission by channel and category; `True`, or the code of why not."""
    items = await service.data("GET", f"/v1/users/{user_id}/permissions{query}")
    return {(item["channel"], item["category"]): item["allowed"] or item["code"] for item in items}


async def test_permissions_cover_what_is_named_and_what_is_asked(service: UserService) -> None:
    ann = await service.user(email="ann@example.com")
    await service.device(ann, "token-0001")
    await service.data("PUT", f"/v1/users/{ann}/preferences", {"channels": [NO_MAIL, NEWS_BY_MAIL, NO_PUSH]})
    assert await allowed(service, ann, "?category=bills&category=news") == {
        ("EMAIL", "general"): "opted_out",
        ("EMAIL", "news"): True,
        ("EMAIL", "marketing"): "opted_out",
        ("EMAIL", "bills"): "opted_out",
        ("PUSH", "general"): True,
        ("PUSH", "news"): True,
        ("PUSH", "marketing"): "opted_out",
        ("PUSH", "bills"): True,
    }


async def test_who_cannot_be_reached_may_not_be_contacted(service: UserService) -> None:
    ann = await service.user()
    device = await service.device(ann, "token-0001")
    assert await allowed(service, ann) == {("EMAIL", "general"): "no_contact_point", ("PUSH", "general"): True}
    await service.data("POST", "/v1/devices/retire", {"ids": [device]})
    assert (await allowed(service, ann))[("PUSH", "general")] == "no_contact_point"


async def test_quiet_hours_hold_all_but_what_is_critical(service: UserService) -> None:
    now = datetime.now(UTC)
    ends = (now + timedelta(hours=2)).replace(second=0, microsecond=0)
    quiet = {"from": f"{now - timedelta(hours=2):%H:%M}", "to": f"{ends:%H:%M}"}
    ann = await service.user(email="ann@example.com")
    await service.data("PUT", f"/v1/users/{ann}/preferences", {"quiet_hours": quiet})
    item = (await service.data("GET", f"/v1/users/{ann}/permissions"))[0]
    assert (item["allowed"], item["code"]) == (False, "quiet_hours")
    assert datetime.fromisoformat(item["held_until"]) == ends
    assert quiet["to"] in item["reason"]
    assert (await allowed(service, ann, "?priority=CRITICAL"))[("EMAIL", "general")] is True


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("priority=URGENT", "priority"),
        ("category=", "category.0"),
        ("category=news&category=%00", "category.1"),
        ("&".join(["category=news"] * (MAX_CATEGORIES_ASKED + 1)), "category"),
    ],
)
async def test_what_is_asked_is_checked(service: UserService, query: str, path: str) -> None:
    ann = await service.user()
    status, fields = await service.problems("GET", f"/v1/users/{ann}/permissions?{query}")
    assert (status, [found for found, _ in fields]) == (422, [path])


# ---------------------------------------------------------------------------------------------------- properties

CLOCKS = st.times().map(lambda clock: f"{clock:%H:%M}")
CATEGORIES = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
CHOICES = st.builds(ChannelPreference, channel=st.sampled_from(Channel), category=CATEGORIES, enabled=st.booleans())
PREFERENCES = st.builds(
    Preferences,
    channels=st.lists(CHOICES, unique_by=lambda choice: (choice.channel, choice.category)).map(tuple),
    quiet_hours=st.none() | st.builds(QuietHours, start=CLOCKS, end=CLOCKS),
)


@given(PREFERENCES)
def test_whatever_is_chosen_is_kept(preferences: Preferences) -> None:
    assert read_preferences(write_preferences(preferences)) == preferences


@given(st.lists(st.tuples(st.sampled_from(Channel), st.sampled_from([None, "a", "b"]), st.booleans()), max_size=8))
def test_each_repetition_is_named_and_nothing_else(given_: list[tuple[Channel, str | None, bool]]) -> None:
    choices = [{"channel": channel, "category": category, "enabled": on} for channel, category, on in given_]
    keys = [choice[:2] for choice in given_]
    expected = [("channels", str(index)) for index, key in enumerate(keys) if key in keys[:index]]
    body = SetPreferences.model_validate({"channels": choices})
    with pytest.raises(ValidationFailed) if expected else nullcontext() as caught:
        assert len(body.applied_to(Preferences()).channels) == len(choices)
    assert ([] if caught is None else [problem.path for problem in caught.value.fields]) == expected


@given(PREFERENCES, st.lists(st.text(min_size=1), max_size=5), st.sampled_from(Priority), st.booleans())
def test_permissions_are_one_for_each_channel_and_category_and_explain_themselves(
    preferences: Preferences, asked: list[str], priority: Priority, reachable: bool
) -> None:
    recipient = Recipient(email="ann@example.com" if reachable else None, preferences=preferences)
    found = permissions(recipient, asked, priority, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    named = {choice.category for choice in preferences.channels} - {None}
    assert {(each.channel, each.category) for each in found} == {
        (channel, category) for channel in Channel for category in {"general", *asked, *named}
    }
    assert len({(each.channel, each.category) for each in found}) == len(found)
    for each in found:
        assert each.allowed == (each.code is None) == (each.reason is None)
        assert not (each.allowed and each.held_until)
