"""What a deletion leaves behind until everybody has forgotten the user, on both engines."""

import asyncio

import pytest

from api.users import repository as users_repository
from domain.changes import Kind
from domain.errors import Conflict, NotFound
from tests.services.user_service import UserService


async def deleted(service: UserService, **given: str) -> str:
    """The id of a user who was there and is being erased."""
    user_id = await service.user(**given)
    await service.data("DELETE", f"/v1/users/{user_id}")
    return user_id


async def pending(service: UserService) -> list[str]:
    """Whose erasures are not done."""
    return [erasure["user_id"] for erasure in await service.data("GET", "/v1/erasures")]


async def test_a_deletion_begins_an_erasure(service: UserService) -> None:
    ann = await deleted(service)
    (erasure,) = await service.data("GET", "/v1/erasures")
    assert set(erasure) == {"id", "user_id", "erased_at", "done_at"}
    assert (erasure["user_id"], erasure["done_at"]) == (ann, None)
    assert erasure["id"].startswith("ers_")


async def test_a_deletion_is_told_as_a_change_and_as_an_erasure(service: UserService) -> None:
    ann = await deleted(service)
    assert service.told == [(Kind.USER, {ann}), (Kind.ERASURE, {ann})]


async def test_who_is_not_there_is_not_erased(service: UserService) -> None:
    ann = await deleted(service)
    service.told.clear()
    for id_ in (ann, "usr_none"):
        assert (await service.call("DELETE", f"/v1/users/{id_}"))[0] == 404
    assert await pending(service) == [ann]
    assert service.told == []


async def test_nobody_is_deleted_without_an_erasure(service: UserService, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(user_id: str) -> None:
        raise LookupError(user_id)

    ann = await service.user()
    monkeypatch.setattr(users_repository, "begin_erasure", fail)
    with pytest.raises(LookupError):
        await service.repository.delete(ann)
    assert (await service.repository.get(ann)).id == ann
    assert service.told == []


async def test_erasures_are_listed_oldest_first_until_they_are_done(service: UserService) -> None:
    gone = [await deleted(service) for _ in range(3)]
    assert await pending(service) == gone
    _, page = await service.call("GET", "/v1/erasures?limit=2")
    assert [erasure["user_id"] for erasure in page["data"]] == gone[:2]
    assert (page["meta"]["total"], page["meta"]["has_next"]) == (3, True)
    await service.data("POST", f"/v1/erasures/{page['data'][0]['id']}/done")
    assert await pending(service) == gone[1:]


async def test_an_erasure_is_done_once(service: UserService) -> None:
    ann = await deleted(service)
    (erasure,) = await service.data("GET", "/v1/erasures")
    first = await service.data("POST", f"/v1/erasures/{erasure['id']}/done")
    again = await service.data("POST", f"/v1/erasures/{erasure['id']}/done")
    assert first == again
    assert (first["user_id"], first["erased_at"]) == (ann, erasure["erased_at"])
    assert first["done_at"] >= first["erased_at"]


@pytest.mark.parametrize("id_", ["ers_none", "%00", "x" * 200])
async def test_an_unknown_erasure_is_not_found(service: UserService, id_: str) -> None:
    status, _ = await service.call("POST", f"/v1/erasures/{id_}/done")
    assert status == (422 if id_ == "%00" else 404)


async def test_an_id_is_nobodys_until_its_erasure_is_done(service: UserService) -> None:
    ann = await deleted(service, id="customer-17", email="ann@example.com")
    status, answer = await service.call("POST", "/v1/users", {"id": ann})
    assert (status, answer["error"]["code"]) == (409, "CONFLICT")
    assert [field["path"] for field in answer["error"]["fields"]] == [["id"]]
    assert "being erased" in answer["message"]
    assert (await service.call("GET", f"/v1/users/{ann}"))[0] == 404
    await service.user(email="ann@example.com")  # the address is free at once
    (erasure,) = await service.data("GET", "/v1/erasures")
    await service.data("POST", f"/v1/erasures/{erasure['id']}/done")
    assert await service.user(id=ann) == ann
    await service.data("DELETE", f"/v1/users/{ann}")  # and may be erased again
    assert await pending(service) == [ann]


async def test_no_new_user_slips_into_an_erasure_that_begins(service: UserService) -> None:
    repository = service.repository
    new = users_repository.NewUser(id="customer-17")
    for _ in range(20):
        await repository.create(new)
        # Whichever comes first, whoever has the id in the end is not the one that is being erased.
        _, made = await asyncio.gather(repository.delete("customer-17"), repository.create(new), return_exceptions=True)
        assert isinstance(made, Conflict)
        with pytest.raises(NotFound):
            await repository.get("customer-17")
        (erasure,), total = await repository.erasures.pending(10)
        assert (erasure.user_id, total) == ("customer-17", 1)
        await repository.erasures.finish(erasure.id)
