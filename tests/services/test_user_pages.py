"""Lists of users: pages by number, and pages by cursor that stay right while users come and go, on both engines."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.records import UserCursor
from api.users.client import UsersClient
from domain.errors import ValidationFailed
from tests.services.user_service import TOKEN, UserService


async def test_lists_are_pages(users: UsersClient) -> None:
    made = [await users.create(email=f"u{number}@example.com") for number in range(5)]
    first, last = await users.list(limit=2), await users.list(page=3, limit=2)
    assert [user.id for user in first.items] == [user.id for user in made[:2]]
    assert [user.id for user in last.items] == [made[4].id]
    assert (first.meta.total, first.meta.total_pages, first.meta.has_next, first.meta.has_previous) == (
        5,
        3,
        True,
        False,
    )
    assert (last.meta.has_next, last.meta.has_previous) == (False, True)


async def test_an_address_finds_its_user(users: UsersClient) -> None:
    ann = await users.create(email="ann@example.com")
    await users.create(email="bob@example.com")
    page = await users.list(email="Ann@example.com")
    assert [user.id for user in page.items] == [ann.id]
    assert (await users.list(email="nobody@example.com")).items == []


# ------------------------------------------------------------------------------------------------------- cursors


async def followed(service: UserService, path: str) -> list[list[str]]:
    """The ids on each page, from a path on along the `Link` headers."""
    pages = []
    async with service.wire.client() as http:
        url: Any = http.base_url.join(path)
        while url is not None:
            response = await http.get(url, headers={"Authorization": f"Bearer {TOKEN}"})
            assert response.status_code == 200
            pages.append([user["id"] for user in response.json()["data"]])
            link = response.links.get("next")
            assert (link is not None) == response.json()["meta"]["has_next"]
            url = None if link is None else response.url.join(link["url"])
    return pages


async def test_links_lead_through_the_whole_list(service: UserService) -> None:
    made = [await service.user() for _ in range(7)]
    assert await followed(service, "/v1/users?limit=3") == [made[:3], made[3:6], made[6:]]
    assert await followed(service, "/v1/users?limit=7") == [made]


async def test_links_keep_to_what_was_asked_for(service: UserService) -> None:
    ann = await service.user(email="ann+news@example.com")
    await service.user()
    assert await followed(service, "/v1/users?limit=1&email=" + quote("Ann+news@example.com")) == [[ann]]


async def test_an_empty_list_is_one_page(service: UserService) -> None:
    found = await service.repository.after(None, 3)
    assert (found.items, found.meta.total, found.meta.has_next, found.meta.has_previous) == ([], 0, False, False)
    assert await followed(service, "/v1/users") == [[]]


async def test_nobody_is_shown_twice_or_left_out_while_users_come_and_go(service: UserService) -> None:
    made = [await service.user() for _ in range(6)]
    first = await service.repository.after(None, 3)
    await service.repository.delete(made[0])
    await service.repository.delete(made[2])  # the one that the cursor points to
    late = await service.user()
    second = await service.repository.after(UserCursor.decode(first.items[-1].cursor), 3)
    assert [user.id for user in second.items] == made[3:]
    assert second.meta.has_next
    third = await service.repository.after(UserCursor.decode(second.items[-1].cursor), 3)
    assert [user.id for user in third.items] == [late]
    assert not third.meta.has_next


async def test_users_of_the_same_moment_are_told_apart(service: UserService) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    made = sorted([await service.user() for _ in range(5)])
    await service.database.query("update users set created_at = $1", [service.database.db_time(moment)])
    assert await followed(service, "/v1/users?limit=2") == [made[:2], made[2:4], made[4:]]
    page = await service.repository.after(UserCursor(moment, made[1]), 10)
    assert [user.id for user in page.items] == made[2:]


async def test_a_cursor_says_where_it_stands_in_the_list(service: UserService) -> None:
    made = [await service.user() for _ in range(5)]
    first = await service.repository.after(None, 2)
    second = await service.repository.after(UserCursor.decode(first.items[-1].cursor), 2)
    third = await service.repository.after(UserCursor.decode(second.items[-1].cursor), 2)
    assert [user.id for page in (first, second, third) for user in page.items] == made
    for number, page in enumerate((first, second, third), start=1):
        assert (page.meta.total, page.meta.limit, page.meta.page, page.meta.total_pages) == (5, 2, number, 3)
        assert (page.meta.has_previous, page.meta.has_next) == (number > 1, number < 3)


async def test_a_cursor_works_from_a_users_own_answer(service: UserService, users: UsersClient) -> None:
    made = [await users.create() for _ in range(3)]
    found = await service.data("GET", f"/v1/users?after={(await users.get(made[0].id)).cursor}")
    assert [user["id"] for user in found] == [made[1].id, made[2].id]
    assert [user["created_at"] for user in found] == [f"{user.created_at.isoformat()[:26]}Z" for user in made[1:]]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "ü", "%00", "dTE6MTp1c3I=", "dTE6MTp1c3", "x" * 200, "dTE6Om", "dTI6MTphYmM", "cDE6Nw"],
)
async def test_what_is_no_cursor_is_named(service: UserService, cursor: str) -> None:
    status, fields = await service.problems("GET", f"/v1/users?after={cursor}")
    assert (status, [path for path, _ in fields]) == (422, ["after"])


async def test_a_cursor_and_a_page_number_exclude_each_other(service: UserService) -> None:
    cursor = UserCursor(datetime.now(UTC), "usr_1").encode()
    assert await service.problems("GET", f"/v1/users?page=2&after={cursor}") == (422, [("page", "excluded")])


IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", fullmatch=True)


@given(st.datetimes(timezones=st.just(UTC)), IDS)
def test_a_cursor_is_exact(moment: datetime, id_: str) -> None:
    text = UserCursor(moment, id_).encode()
    assert UserCursor.decode(text) == UserCursor(moment, id_)
    assert quote(text, safe="") == text
    assert len(text) <= 200


@given(st.text() | st.text("uU10:ABCabc=-_", max_size=40) | st.binary().map(lambda some: some.decode("latin-1")))
def test_whatever_is_handed_in_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = UserCursor.decode(text)
    except ValidationFailed:
        return
    assert cursor.encode() == text
