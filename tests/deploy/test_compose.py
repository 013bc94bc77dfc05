"""`compose.yml`: valid, complete, and such that any role can have many instances."""

import re
from typing import Any

import pytest
from typer.main import get_command

from api.bootstrap import ROLES as BUILT
from api.bootstrap import SECRETS
from api.cli import app
from api.run import HTTP_GRACE
from api.secrets_check import refuse_weak_secrets
from api.settings import PREFIX, Settings, load_settings
from tests.deploy.files import DOCKER, ROLES, ROOT, compose
from tests.deploy.schemas import check
from tests.e2e.conftest import Compose

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = [name for name, service in SERVICES.items() if service.get("image") == "heliograph"]
ONCE = {"migrate"}
"""Ends by itself."""
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields}
_VARIABLE = re.compile(r"\$\{(\w+)(:?[-?])?")


class Anywhere(dict[str, str]):
    """Addresses of a machine that has everything, for those that are only read."""

    def __missing__(self, address: str) -> str:
        schemes = {"5672": "amqp", "6379": "redis", "5432": "postgres", "1025": "smtp"}
        return f"{schemes.get(address.split(':')[1], 'http')}://{address}/"


def text() -> str:
    return (ROOT / "compose.yml").read_text()


def example() -> str:
    return (DOCKER / "example.env").read_text()


def test_it_is_a_compose_file() -> None:
    check("compose-spec", ROOT / "compose.yml")


def test_every_role_is_there() -> None:
    assert set(OURS) == set(BUILT) | ONCE
    assert [name for name in OURS if SERVICES[name].get("profiles")] == ["bounces"]


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_one_of_ours(name: str) -> None:
    verb, *rest = str(SERVICES[name]["command"]).split()
    group = get_command(app)
    command = group.get_command(group.make_context("heliograph", ["--help"], resilient_parsing=True), verb)  # type: ignore[attr-defined]
    assert command is not None
    command.make_context(verb, rest)


@pytest.mark.parametrize("name", OURS)
def test_the_environment_makes_settings_that_the_role_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Compose(Anywhere()).environment(name)
    assert set(environment) <= KNOWN
    if name == "bounces":
        environment["HELIOGRAPH_BOUNCE_ADDRESS"] = "bounces@example.com"
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    refuse_weak_secrets(load_settings(), SECRETS.get(name, ()))


@pytest.mark.parametrize("name", ROLES)
def test_a_role_can_have_many_instances(name: str) -> None:
    service = SERVICES[name]
    assert not {"container_name", "hostname"} & set(service)
    # A range gives each instance a port of its own.
    ports = [re.sub(r"\$\{\w+:-([\d-]+)\}", r"\1", port) for port in service.get("ports", ())]
    assert [port for port in ports if not re.fullmatch(r"\d+-\d+:\d+", port)] == []


def test_only_the_proxy_is_published_to_other_machines() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    everywhere = {name for name, ports in published.items() if not all(port.startswith("127.0.0.1:") for port in ports)}
    assert everywhere == {"proxy", "bounces"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_comes_back_within_limits(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[MG]", limits["memory"])


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OURS])
def test_a_server_is_asked_how_it_does(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", OURS)
def test_a_role_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service, "the image's own is not root"


@pytest.mark.parametrize("name", OURS)
def test_a_role_has_time_to_finish_what_it_has_in_hand(name: str) -> None:
    seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    # What `api.run` and `api.bootstrap` give the answers, the work and the parts that stop.
    assert seconds > HTTP_GRACE + Settings.model_fields["drain_seconds"].default + 5


@pytest.mark.parametrize("name", SERVICES)
def test_no_image_changes_under_its_name(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image == "heliograph" or re.search(r":v?\d", image)


def test_a_database_is_told_to_its_service_alone() -> None:
    told = {
        name: sorted(variable for variable in service["environment"] if variable.endswith("_DATABASE_URL"))
        for name, service in SERVICES.items()
        if name in OURS and name not in ONCE
    }
    own = {
        "users": ["HELIOGRAPH_USERS_DATABASE_URL"],
        "templates": ["HELIOGRAPH_TEMPLATES_DATABASE_URL"],
        "sandbox": [],
    }
    assert told == {name: own.get(name, ["HELIOGRAPH_GATEWAY_DATABASE_URL"]) for name in told}


def test_what_has_no_default_is_in_the_example() -> None:
    needed = {name for name, kind in _VARIABLE.findall(text()) if kind == ":?"}
    assert needed <= set(re.findall(r"^(\w+)=$", example(), re.MULTILINE))


def test_what_the_example_names_is_used() -> None:
    named = set(re.findall(r"^#?([A-Z]\w+)=", example(), re.MULTILINE))
    assert named <= {name for name, _ in _VARIABLE.findall(text())}
