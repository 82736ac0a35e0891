"""Alerts and dashboard ask for what a real server's ``/metrics`` has; the manual explains it."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from tests.serving import serve
from tests.support import ROOT, queue_at
from worker.gpus import Gpu
from worker.vitals import Vitals

MONITORING = ROOT / "deploy" / "monitoring"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PROMETHEUS = {"up"}
"""Of each scrape, which Prometheus itself adds."""

Metrics = dict[str, set[tuple[str, str]]]
"""By a sample's name, the labels with their values."""


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> Metrics:
    data = tmp_path_factory.mktemp("data")
    gpu = Gpu("GPU-1", "0", "NVIDIA H200", 150 << 30, 3 << 30, 0.97, 61, 512.4)
    queue_at(redis_server.url, data).vitals.tell("1", Vitals("a", gpus=[gpu]))
    with serve(data, redis_server.url) as client:
        text = client.get("/metrics").text
    found: Metrics = {name: set() for name in PROMETHEUS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.items())
    return found


def alerts() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load(MONITORING / "alerts.yml")["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8")))


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in alerts())
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def selectors(query: str) -> Iterator[Any]:
    """What a query selects."""
    todo = [promql_parser.parse(query.replace("$__rate_interval", "5m"))]
    while todo:
        part = todo.pop()
        if isinstance(part, promql_parser.VectorSelector):
            yield part
        for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
            if (inner := getattr(part, name, None)) is not None:
                todo.append(inner)
        todo += getattr(part, "args", [])


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_each_query_selects_what_a_server_exports(query: str, metrics: Metrics) -> None:
    found = list(selectors(query))
    assert {selector.name for selector in found} == set(
        re.findall(r"\b(?:charloom|process)_\w+|\bup\b", query)
    )
    for selector in found:
        assert selector.name in metrics
        for matcher in selector.matchers.matchers:
            if matcher.name == "job":
                assert matcher.value == "charloom"
                continue
            values = {value for name, value in metrics[selector.name] if name == matcher.name}
            assert {*matcher.value.split("|")} <= values, matcher.name


def test_each_figure_is_explained_and_each_explained_one_is_there(metrics: Metrics) -> None:
    exported = {
        re.sub(r"_(bucket|count|sum|total)$", "", name) for name in metrics if "charloom_" in name
    }
    told = re.findall(r"^\| `(charloom_\w+?)(?:_total)?`", OPERATIONS, re.MULTILINE)
    assert {*told} == exported


def test_each_alert_says_what_it_is_and_the_manual_what_to_do() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len({*names}) == len(names)
    assert re.findall(r"^\| `(Charloom\w+)` \|", OPERATIONS, re.MULTILINE) == names
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")
        assert promql_parser.parse_duration(rule.get("for", "1s")) is not None


def test_the_dashboard_is_one() -> None:
    board = dashboard()
    assert board["uid"] and board["title"] and board["schemaVersion"] >= 39
    panels = board["panels"]
    assert (
        len({panel["id"] for panel in panels}) == len({p["title"] for p in panels}) == len(panels)
    )
    (variable,) = board["templating"]["list"]
    for panel in panels:
        assert panel["datasource"]["uid"] == f"${{{variable['name']}}}"
        ids = [target["refId"] for target in panel["targets"]]
        assert len({*ids}) == len(ids)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_prometheus_reads_the_alerts_and_knows_the_job() -> None:
    settings = YAML(typ="safe").load(MONITORING / "prometheus.yml")
    assert [(MONITORING / name).is_file() for name in settings["rule_files"]] == [True]
    (scrape,) = settings["scrape_configs"]
    assert scrape["job_name"] == "charloom"


ADDED = re.compile(r"sum[^(]*\(\s*(?:rate|increase)?\(?(charloom_\w+)")


def test_what_every_server_tells_alike_is_not_added_up() -> None:
    said = re.findall(r"^\| `(charloom_\w+)` \|.*the (?:larg|small)est", OPERATIONS, re.MULTILINE)
    shared = {"charloom_jobs", "charloom_queue_length", "charloom_workers", "charloom_redis_up"}
    shared |= {"charloom_models_damaged", "charloom_workers_without_gpu"}
    assert {name for name in said if "_gpu_" not in name} == shared
    assert len(said) == len(shared) + 5
    for query in queries():
        assert not {*ADDED.findall(query)} & {*said}, query
