"""The documentation says what the code says: tables, links, GraphQL, transcripts, names."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate

from api.gateway import cursor
from api.gateway.playground.page import EXAMPLES, example
from api.settings import Settings
from api.settings_table import with_table
from domain.metrics import METRICS, Metric
from domain.notification import FINAL, TRANSITIONS, Status

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
SOURCES = [path for top in ("api", "domain", "workers", "tests") for path in sorted((ROOT / top).rglob("*.py"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_PAGE = re.compile(r"docs/[\w/.-]+\.md")
_EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:")


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    return [body for found, body in _FENCE.findall(page.read_text()) if found == language]


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table whose header begins with `heading`, without header and ruler."""
    lines = iter(prose(page).splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            break
    else:
        raise AssertionError(f"{page.name} has no table that begins with {heading!r}")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in _rows(lines)]
    return rows[1:]


def _rows(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def anchors(page: Path) -> set[str]:
    """What `#…` may name in a page, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def words(cell: str) -> frozenset[str]:
    return frozenset(word.strip() for word in cell.split(",") if word.strip())


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


class TestStates:
    def test_the_transition_table_is_that_of_the_code(self) -> None:
        written = {Status(row[0]): frozenset(map(Status, words(row[1]))) for row in table(DOCS / "states.md", "from")}
        assert written == TRANSITIONS

    def test_every_status_is_described_and_the_final_ones_are_final(self) -> None:
        rows = table(DOCS / "states.md", "status")
        assert {Status(row[0]): row[2] for row in rows} == {one: "yes" if one in FINAL else "no" for one in Status}

    def test_the_diagram_draws_no_transition_that_cannot_be(self) -> None:
        (diagram,) = blocks(DOCS / "states.md", "mermaid")
        arrows = re.findall(r"^ *([A-Z]+) --> ([A-Z]+)", diagram, re.MULTILINE)
        assert {Status(name) for arrow in arrows for name in arrow} == set(Status)
        assert [arrow for arrow in arrows if Status(arrow[1]) not in TRANSITIONS[Status(arrow[0])]] == []

    def test_the_diagram_ends_where_nothing_follows(self) -> None:
        (diagram,) = blocks(DOCS / "states.md", "mermaid")
        ends = re.findall(r"^ *([A-Z]+) --> \[\*\]", diagram, re.MULTILINE)
        assert set(map(Status, ends)) == {status for status, after in TRANSITIONS.items() if not after}


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=names)
    def test_relative_links_resolve(self, page: Path) -> None:
        links = [link for link in _LINK.findall(prose(page)) if not _EXTERNAL.match(link)]
        assert [link for link in links if not _resolves(page, link)] == []

    def test_pages_named_in_the_code_exist(self) -> None:
        named = {(path.name, page) for path in SOURCES for page in _PAGE.findall(path.read_text())}
        assert {(name, page) for name, page in named if not (ROOT / page).is_file()} == set()

    def test_the_index_lists_every_page(self) -> None:
        linked = set(_LINK.findall(prose(DOCS / "README.md")))
        pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
        assert pages - linked == set()


def _resolves(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


class TestGraphQL:
    @pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "graphql")], ids=names)
    def test_examples_are_valid(self, page: Path) -> None:
        for block in blocks(page, "graphql"):
            assert problems(block) == []

    def test_the_readme_shows_the_first_tabs_of_graphiql(self) -> None:
        documents = [re.sub(r"^#.*\n", "", example(name), flags=re.MULTILINE) for name in EXAMPLES[:2]]
        assert blocks(ROOT / "README.md", "graphql") == documents

    def test_the_transcripts_are_valid(self) -> None:
        frames = list(_frames(DOCS / "live-status.md"))
        queries = [frame["payload"]["query"] for _, frame in frames if frame["type"] == "subscribe"]
        assert queries
        assert [problem for query in queries for problem in problems(query)] == []

    def test_the_transcripts_resume_without_a_hole(self) -> None:
        frames = [frame for _, frame in _frames(DOCS / "live-status.md") if frame.get("id") == "1"]
        events = [frame["payload"]["data"]["notification_status"] for frame in frames if frame["type"] == "next"]
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert all(cursor.encode(cursor.decode(event["cursor"])) == event["cursor"] for event in events)
        given = [frame["payload"]["variables"].get("after") for frame in frames if frame["type"] == "subscribe"]
        assert given == [None, events[1]["cursor"]]
        statuses = [Status(event["status"]) for event in events]
        assert all(after in TRANSITIONS[before] for before, after in pairwise(statuses))

    def test_the_stream_of_events_is_one(self) -> None:
        (stream,) = blocks(DOCS / "live-status.md", "sse")
        comment, *events, last = stream.strip("\n").split("\n\n")
        assert (comment, last) == (":", "event: complete\ndata:")
        fields = [dict(line.split(": ", 1) for line in event.split("\n")) for event in events]
        assert [field["event"] for field in fields] == ["next"] * len(events)
        assert all(cursor.encode(cursor.decode(field["id"])) == field["id"] for field in fields)
        results = [json.loads(field["data"])["data"]["notification_status"] for field in fields]
        assert [result["sequence"] for result in results] == list(range(1, len(results) + 1))


def problems(document: str) -> list[str]:
    """What is wrong with a GraphQL document for clients."""
    schema = build_schema((ROOT / "schema.graphql").read_text())
    return [error.message for error in validate(schema, parse(document))]


def _frames(page: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Who speaks, and the message, of each line of a transcript."""
    for block in blocks(page, "text"):
        for line in block.splitlines():
            speaker, message = line[:2], json.loads(line[2:])
            assert speaker in {"> ", "< "}
            yield speaker.strip(), message


class TestProtocol:
    def test_each_trace_names_its_test_and_each_test_of_a_trace_is_named(self) -> None:
        named = {row[3].strip("`") for row in table(DOCS / "protocol.md", "#") if row[3].startswith("`")}
        assert named == _methods(ROOT / "tests/contracts/test_gateway_store.py", "TestTraces")

    def test_every_rule_is_there(self) -> None:
        rules = re.findall(r"^- \*\*(R\d) ", prose(DOCS / "protocol.md"), re.MULTILINE)
        assert rules == [f"R{number}" for number in range(1, 10)]

    def test_the_columns_exist(self) -> None:
        from api.gateway.tables import Notification

        columns = {name for row in table(DOCS / "protocol.md", "column") for name in re.findall(r"`(\w+)`", row[0])}
        assert columns <= Notification._meta.fields


def _methods(path: Path, of: str) -> set[str]:
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef) and node.name == of]
    return {
        node.name
        for found in classes
        for node in found.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


class TestArchitecture:
    def test_every_port_is_listed(self) -> None:
        listed = {row[0].strip("`") for row in table(DOCS / "architecture.md", "port")}
        assert listed == (_protocols(ROOT / "domain/ports.py") | {"Requests"}) - {"Received"}

    def test_the_adapters_exist(self) -> None:
        cells = [row[2] for row in table(DOCS / "architecture.md", "port")]
        adapters = [name for cell in cells for name in re.findall(r"`((?:api|workers)\.[\w.]+)`", cell)]
        assert len(adapters) >= len(cells)
        assert [name for name in adapters if not _importable(name)] == []

    def test_the_topology_is_that_of_the_code(self) -> None:
        from workers.broker.topology import BINDINGS, EXCHANGES

        kinds = {exchange.name: exchange.kind for exchange in EXCHANGES}
        rows = table(DOCS / "architecture.md", "exchange")
        written = {tuple(cell.strip("`") for cell in row[:4]) for row in rows}
        assert written == {(each.exchange, kinds[each.exchange], each.key, each.queue) for each in BINDINGS}


def _protocols(path: Path) -> set[str]:
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    return {node.name for node in classes if "Protocol" in map(ast.unparse, node.bases)}


def _importable(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return hasattr(importlib.import_module(module), attribute)


class TestProviders:
    def test_each_status_is_classified_as_the_page_says(self) -> None:
        from workers.email.http_provider import classified

        rows = table(DOCS / "providers.md", "status")
        written = {int(row[0]): (row[1], row[2].strip("`")) for row in rows}
        assert written == {status: tuple(map(str, classified(status))) for status in written}
        assert len(written) == len(rows)

    def test_every_provider_is_listed_with_what_it_needs(self) -> None:
        from api.settings import EMAIL_PROVIDERS, PUSH_PROVIDERS

        rows = table(DOCS / "providers.md", "provider")
        assert {row[0].strip("`") for row in rows} == EMAIL_PROVIDERS | PUSH_PROVIDERS
        named = {name for row in rows for name in re.findall(r"`HELIOGRAPH_(\w+)`", row[1] + row[2])}
        assert named <= {name.upper() for name in Settings.model_fields}


class TestExplain:
    def test_every_kind_of_decision_is_listed(self) -> None:
        from domain.explain.told import DecisionKind

        assert [row[0] for row in table(DOCS / "explain.md", "kind")] == list(DecisionKind)

    def test_every_reason_to_pass_a_provider_over_is_named(self) -> None:
        from domain.reasons import PassedOver

        assert [why for why in PassedOver if f"(`{why}`)" not in " ".join(prose(DOCS / "explain.md").split())] == []


class TestObservability:
    def test_every_field_of_a_line_is_described(self) -> None:
        from domain.life import Step

        written = [row[0].strip("`") for row in table(DOCS / "observability.md", "field")]
        assert written == list(Step.__struct_fields__)

    def test_every_event_is_described(self) -> None:
        from domain.life import Event

        assert [row[0] for row in table(DOCS / "observability.md", "event")] == [event.value for event in Event]


class TestGlossary:
    ROWS = table(DOCS / "glossary.md", "word")

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
    def test_the_word_is_used_where_the_glossary_says(self, row: list[str]) -> None:
        (link,) = _LINK.findall(row[3])
        text = re.sub(r"[\s_-]+", " ", (DOCS / link).read_text().lower())
        assert re.sub(r"[\s_-]+", " ", row[0].lower()) in text

    def test_every_word_is_explained_once(self) -> None:
        listed = [row[0] for row in self.ROWS]
        assert len(listed) == len(set(listed))
        assert all(row[1] for row in self.ROWS)

    def test_ids_are_those_of_the_code(self) -> None:
        from domain import ids

        prefixes = {value for name, value in vars(ids).items() if name.isupper() and not name.startswith("_")}
        assert {row[0].strip("`") for row in table(DOCS / "decisions/0006-ids.md", "prefix")} == prefixes


def test_the_variables_of_the_tests_are_those_of_the_code() -> None:
    pattern = re.compile(r"HELIOGRAPH_TEST_[A-Z_]+_URL")
    used = {name for path in (ROOT / "tests/servers").rglob("*.py") for name in pattern.findall(path.read_text())}
    assert set(pattern.findall(prose(DOCS / "testing.md"))) == used


def test_the_readme_has_the_settings_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text()
    assert with_table(readme) == readme


def test_the_page_of_metrics_names_each_with_its_kind_and_labels() -> None:
    row = re.compile(r"^\| `(heliograph_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", re.MULTILINE)
    shown = row.findall((DOCS / "metrics.md").read_text())
    assert shown == [(each.name, each.kind, _labels(each), each.help) for each in METRICS]


def _labels(metric: Metric) -> str:
    return ", ".join(f"`{label}`" for label in metric.labels) or "none"
