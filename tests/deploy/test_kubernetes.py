"""The manifests: valid, careful, complete, and of one mind with `compose.yml` and the code."""

from typing import Any

import kubernetes_validate
import pytest

from api.bootstrap import SECRETS
from api.run import HTTP_GRACE
from api.secrets_check import refuse_weak_secrets
from api.settings import PREFIX, Settings, load_settings
from tests.deploy.files import KUBERNETES, ROLES, compose, read
from tests.deploy.manifests import container, environment, of_kind, pod, rendered, secret_names
from tests.deploy.metrics import METRICS
from workers.broker.topology import EMAIL_QUEUE, PUSH_QUEUE, QUEUES, STATUS_QUEUE

VERSIONS = ("1.31", "1.37")
OURS = (*ROLES, "migrate")
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields}
GIVEN = {
    "HELIOGRAPH_SERVICE_TOKEN": "5d1e8a94c07b3f62d8e90b17a46c25f3",
    "HELIOGRAPH_SECRET": "c3f7a10e94d2b8561f0e7a3c9d84b26e",
    "HELIOGRAPH_API_KEY": "hg_9f3c1b7de24a60588c1d4e7fa3b2d9e1",
}


def workload(name: str) -> dict[str, Any]:
    return of_kind("Job")[name] if name == "migrate" else of_kind("Deployment")[name]


def secrets() -> dict[str, str]:
    """What a cluster has that has only what it must have."""
    return {name: GIVEN.get(name, value) for name, value in secret_names().items() if GIVEN.get(name, value)}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_them(version: str) -> None:
    for document in rendered():
        kubernetes_validate.validate(document, version, strict=True)


def test_every_role_is_there() -> None:
    assert set(of_kind("Deployment")) == set(ROLES)
    assert set(of_kind("Job")) == {"migrate"}


def test_no_secret_is_among_them() -> None:
    assert of_kind("Secret") == {}
    assert {name for name, value in secret_names().items() if value and "PASSWORD" not in value} <= {
        "HELIOGRAPH_FEED_URL",
        "HELIOGRAPH_CACHE_URL",
    }


@pytest.mark.parametrize("name", OURS)
def test_the_command_is_that_of_compose(name: str) -> None:
    assert container(workload(name))["args"] == compose()["services"][name]["command"].split()


@pytest.mark.parametrize("name", OURS)
def test_the_environment_makes_settings_that_the_role_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment(workload(name), secrets())
    assert set(given) <= KNOWN
    if name == "bounces":
        given["HELIOGRAPH_BOUNCE_ADDRESS"] = "bounces@example.com"
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    refuse_weak_secrets(load_settings(), SECRETS.get(name, ()))


@pytest.mark.parametrize("name", OURS)
def test_a_role_is_told_the_databases_of_compose(name: str) -> None:
    def databases(variables: Any) -> set[str]:
        return {variable for variable in variables if variable.endswith("_DATABASE_URL")}

    assert databases(environment(workload(name), secrets())) == databases(compose()["services"][name]["environment"])


def test_what_is_asked_of_the_secret_is_what_the_example_has() -> None:
    asked = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for name in OURS
        for entry in container(workload(name))["env"]
        if "valueFrom" in entry
    }
    assert asked == set(secret_names())


@pytest.mark.parametrize("name", OURS)
def test_a_pod_may_do_little(name: str) -> None:
    spec, own = pod(workload(name)), container(workload(name))["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", OURS)
def test_a_pod_has_bounds(name: str) -> None:
    resources = container(workload(name))["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert "memory" in resources["limits"]


@pytest.mark.parametrize("name", ROLES)
def test_a_role_is_asked_the_right_questions(name: str) -> None:
    own = container(workload(name))
    asked = {probe: own[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert asked == {
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
        "startupProbe": "/health/live",
    }
    ports = {port["name"]: port["containerPort"] for port in own["ports"]}
    assert str(ports["http"]) == environment(workload(name), secrets())["HELIOGRAPH_PORT"]


@pytest.mark.parametrize("name", ROLES)
def test_a_role_has_time_to_finish_what_it_has_in_hand(name: str) -> None:
    waits = container(workload(name))["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = waits + HTTP_GRACE + Settings.model_fields["drain_seconds"].default + 5
    assert pod(workload(name))["terminationGracePeriodSeconds"] > needed


@pytest.mark.parametrize("name", [role for role in ROLES if role != "dispatch"])
def test_an_upgrade_of_the_nodes_takes_one_at_a_time(name: str) -> None:
    budget = of_kind("PodDisruptionBudget")[name]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == workload(name)["spec"]["selector"]


@pytest.mark.parametrize("name", ["gateway", "users", "templates", "email", "push"])
def test_a_role_scales(name: str) -> None:
    scaler = of_kind("HorizontalPodAutoscaler")[name]["spec"]
    assert scaler["scaleTargetRef"]["name"] == name
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert "replicas" not in workload(name)["spec"], "applying the manifests again would undo what was scaled"


@pytest.mark.parametrize(("name", "queue"), [("email", EMAIL_QUEUE), ("push", PUSH_QUEUE)])
def test_who_works_off_a_queue_scales_with_its_lag(name: str, queue: str) -> None:
    (metric,) = of_kind("HorizontalPodAutoscaler")[name]["spec"]["metrics"]
    asked = metric["external"]["metric"]
    assert asked["selector"]["matchLabels"] == {"queue": queue}
    (rule,) = read(KUBERNETES / "monitoring/adapter-values.yaml")["rules"]["external"]
    assert rule["name"]["as"] == asked["name"]
    assert METRICS[asked["name"]] == {"queue"}
    assert rule["seriesQuery"].startswith(asked["name"])


def test_no_more_relays_are_started_than_there_is_work_for() -> None:
    """One at a time is given the reports; another one stands by."""
    (queue,) = [each for each in QUEUES if each.name == STATUS_QUEUE]
    assert queue.single_active_consumer
    assert workload("relay")["spec"]["replicas"] == 2


def test_every_role_is_scraped_under_its_name() -> None:
    monitor = read(KUBERNETES / "monitoring/podmonitor.yaml")["spec"]
    assert monitor["jobLabel"] == "app.kubernetes.io/component"
    for name in ROLES:
        labels = workload(name)["spec"]["template"]["metadata"]["labels"]
        assert labels.items() >= monitor["selector"]["matchLabels"].items()
        assert labels[monitor["jobLabel"]] == name


@pytest.mark.parametrize("caller", ["gateway", "email", "push", "bounces"])
def test_who_asks_the_services_may(caller: str) -> None:
    (rule,) = of_kind("NetworkPolicy")["roles-to-services"]["spec"]["ingress"]
    (peer,) = rule["from"]
    (expression,) = peer["podSelector"]["matchExpressions"]
    assert caller in expression["values"]


def test_what_is_addressed_exists() -> None:
    services = of_kind("Service")
    assert set(services) == {"gateway", "users", "templates", "bounces"}
    for name, service in services.items():
        labels = workload(name)["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
    (rule,) = of_kind("Ingress")["heliograph"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] in services


def test_the_ingress_leaves_sockets_open_and_holds_nothing_back() -> None:
    said = of_kind("Ingress")["heliograph"]["metadata"]["annotations"]
    words = {name.rpartition("/")[2]: value for name, value in said.items()}
    assert words["proxy-buffering"] == "off"
    assert min(int(words["proxy-read-timeout"]), int(words["proxy-send-timeout"])) >= 3600
