"""Each alert fires when it should and is silent when it should, by Prometheus's own word."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.files import DOCKER, MONITORING, ROLES, ROOT, alerts, metrics_in, read, rules
from tests.deploy.metrics import METRICS, recorded
from tests.servers.unpacked import program

CASES: list[dict[str, Any]] = read(Path(__file__).with_name("alerts.yml"))
RUNBOOKS = ROOT / "docs/runbooks.md"
_SERIES = re.compile(r"(\w+)\{([^}]*(?:\{\w+\}[^}]*)*)\}")
_OF_THE_SCRAPE = {"job", "instance", "le"}


def promtool(*arguments: str) -> None:
    """Run promtool; what it says is the test's failure."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def firing(alert: str, labels: dict[str, str]) -> str:
    by = f" by ({', '.join(labels)})" if labels else ""
    return f'count{by} (ALERTS{{alertname="{alert}", alertstate="firing"}})'


def healthy(scrapes: int = 160) -> dict[str, str]:
    """The recorded system, as it would be for so many scrapes in which nothing happens."""
    series: dict[str, str] = {}
    for role, sample in recorded():
        labels = {**sample.labels, "job": role, "instance": f"{role}:8000"}
        series[f'up{{job="{role}", instance="{role}:8000"}}'] = f"1x{scrapes}"
        series[f"{sample.name}{{{quoted(labels)}}}"] = f"{sample.value}x{scrapes}"
    return series


def quoted(labels: dict[str, str]) -> str:
    return ", ".join(f'{name}="{value}"' for name, value in labels.items())


def base(series: str) -> str:
    """A series' metric, without what a histogram appends."""
    metric = series.partition("{")[0]
    return next(iter(metrics_in(metric)), metric)


def play(history: dict[str, Any], asked: str, expected: dict[str, str] | None, folder: Path) -> None:
    """Let promtool play the recorded system with a history in place of the metrics that it speaks of.

    At its end, what is asked has one answer with these labels, or none.
    """
    told: dict[str, Any] = history["series"]
    metrics = {base(series) for series in told}
    whole = {series: values for series, values in healthy().items() if base(series) not in metrics} | told
    answer = [] if expected is None else [{"labels": f"{{{quoted(expected)}}}", "value": 1}]
    test = {
        "interval": "15s",
        "input_series": [{"series": series, "values": str(values)} for series, values in whole.items()],
        "promql_expr_test": [{"expr": asked, "eval_time": history["at"], "exp_samples": answer}],
    }
    rule_files = [str(MONITORING / "alerts.yml")]
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": rule_files, "evaluation_interval": "15s", "tests": [test]}))
    promtool("test", "rules", str(file))


def name(case: dict[str, Any]) -> str:
    return str(case["alert"])


@pytest.mark.parametrize("case", CASES, ids=name)
def test_it_fires(case: dict[str, Any], tmp_path: Path) -> None:
    labels = case["fires"]["labels"]
    play(case["fires"], firing(case["alert"], labels), labels, tmp_path)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_it_is_silent(case: dict[str, Any], tmp_path: Path) -> None:
    play(case["silent"], firing(case["alert"], {}), None, tmp_path)


def test_none_fires_while_all_is_well(tmp_path: Path) -> None:
    play({"series": {}, "at": "35m"}, 'ALERTS{alertstate=~"pending|firing"}', None, tmp_path)


def test_the_recorded_metrics_are_those_that_we_know() -> None:
    assert {role for role, _ in recorded()} == set(ROLES) - {"bounces"}
    for _, sample in recorded():
        assert set(sample.labels) - {"le"} == METRICS[base(sample.name)], sample.name


def test_every_alert_has_both_cases() -> None:
    assert {case["alert"] for case in CASES} == set(alerts())


def test_the_series_of_the_cases_have_the_labels_of_the_product() -> None:
    for case in CASES:
        for series in (*case["fires"]["series"], *case["silent"]["series"]):
            metric, labels = _SERIES.fullmatch(series).groups()  # type: ignore[union-attr]
            given = set(re.findall(r'(\w+)="', labels)) - _OF_THE_SCRAPE
            if metric != "up":
                assert given == METRICS[next(iter(metrics_in(metric)))], series


def test_prometheus_takes_the_configuration() -> None:
    promtool("check", "config", str(MONITORING / "prometheus.yml"))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_reads_only_what_the_product_tells(rule: dict[str, Any]) -> None:
    recorded = {known["record"].split(":")[0] for known in rules() if "record" in known}
    assert metrics_in(rule["expr"]) - recorded <= set(METRICS)


@pytest.mark.parametrize("alert", alerts().values(), ids=name)
def test_an_alert_says_what_it_is_and_where_its_runbook_is(alert: dict[str, Any]) -> None:
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{alert['alert'].lower()}"


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    headings = re.findall(r"^## (Heliograph\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alerts())


def test_every_runbook_says_the_same_five_things() -> None:
    sections = re.split(r"^## Heliograph\w+$", RUNBOOKS.read_text(), flags=re.MULTILINE)[1:]
    for section in sections:
        found = re.findall(r"^\*\*([\w ]+)\.\*\*", section, re.MULTILINE)
        assert found == ["What it means", "What users notice", "Look", "Likely causes", "Cure"]


def test_every_role_is_scraped() -> None:
    (roles, _) = read(MONITORING / "prometheus.yml")["scrape_configs"]
    (found,) = roles["dns_sd_configs"]
    services = read(ROOT / "compose.yml")["services"]
    ours = {name for name, service in services.items() if service.get("image") == "heliograph"}
    assert set(found["names"]) == ours - {"migrate", "sandbox"}
    assert found["port"] == 8000
    assert (DOCKER / "monitoring/alerts.yml").name in read(MONITORING / "prometheus.yml")["rule_files"]
