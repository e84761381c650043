"""Dashboards, alerts and runbooks: what needs no server. prometheus.py asks them of real metrics."""

import collections
import copy
import json
import pathlib
import re
import sys
import tempfile

import promql_parser
import yaml
from chart_files import CHART, MINIMAL, ROOT, RULES, dashboards, merged, panels, program, queries, render, rules, the
from suite import case, run


@case
def the_dashboards_are_what_the_generator_writes():
    found = program(sys.executable, CHART / "dashboards" / "generate.py", "--check")
    assert found.returncode == 0, found.stderr
    found = program(sys.executable, CHART / "dashboards" / "list_metrics.py", "--check")
    assert found.returncode == 0, found.stderr


@case
def texts_of_pictures_cover_no_other():
    text = re.compile(r'<text x="([\d.]+)" y="([\d.]+)"([^>]*)>([^<]*)</text>')
    pictures = sorted((ROOT / "docs" / "images").glob("*.svg"))
    assert len(pictures) >= 6, pictures
    for path in pictures:
        boxes = []
        for x, y, style, words in text.findall(path.read_text()):
            wide = 6.0 * len(words)
            begin = float(x) - wide * (0.5 if "middle" in style else "end" in style)
            boxes.append((begin, begin + wide, float(y) - 10, float(y), words))
        for at, (begin, end, above, below, words) in enumerate(boxes):
            near = [other for other in boxes[:at] if other[0] < end and begin < other[1] and other[2] < below and above < other[3]]
            assert not near, f"{path.name}: {words} and {near}"


@case
def every_panel_says_what_it_shows():
    boards = dashboards()
    assert set(boards) == {"overview", "delivery", "resume", "redis", "node", "rollouts", "access", "k6"}
    for name, board in boards.items():
        variables = [each["name"] for each in board["templating"]["list"]]
        assert variables == ["datasource", "namespace", "job", "instance"] + ["testid"] * (name == "k6"), name
        assert board["editable"] is False and board["uid"] == f"fantail-{name}"
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]), f"{name}: an id twice"
        for panel in panels(board):
            where = f"{name}: {panel['title']}"
            assert panel["title"] and len(panel["description"]) > 12, where
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults.get("unit") or panel["options"]["yAxis"]["unit"], f"{where} has no unit"
            assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"], where
        for title, query in queries(board):
            where = f"{name}: {title}"
            if "testid" in query:
                assert set(re.findall(r"\{(.*?)\}", query)) == {'testid=~"$testid"'}, where
            else:
                assert re.search(r'job=~"\$job"', query) and re.search(r'namespace=~"\$namespace"', query), where
            assert "[5m]" not in query or "increase" in query, f"{where}: a rate over a fixed time"
            for counter in re.findall(r"(\w+_total)\{", query):
                ok = re.search(r"(rate|increase)\(" + counter, query) or "* 0" in query or "k6_sse" in query
                assert ok, f"{where}: {counter} without rate"
            promql_parser.parse(plain(query))


def plain(query):
    """A query with Grafana's variables replaced."""
    return re.sub(r"\$(namespace|job|instance|testid)", ".*", query).replace("$__rate_interval", "1m")


@case
def a_wrong_query_is_found():
    for wrong in ("sum(rate(x[1m])", "rate(x)", "x[1m] + 1"):
        try:
            promql_parser.parse(wrong)
        except Exception:
            continue
        raise AssertionError(f"parsed: {wrong}")


def lost(before, after, path=""):
    """Keys of a JSON value that another one lacks."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{path}.{key}"
            else:
                yield from lost(value, after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{path}: {len(before)} and {len(after)} items"
        for at, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}[{at}]")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


@case
def grafanas_own_models_know_every_key():
    from grafana_foundation_sdk.cog import encoder, plugins
    from grafana_foundation_sdk.models import dashboard as models

    plugins.register_default_plugins()

    def through(board):
        model = models.Dashboard.from_json(copy.deepcopy(board))
        return json.loads(json.dumps(model, cls=encoder.JSONEncoder))

    for name, board in dashboards().items():
        gone = list(lost(board, through(board)))
        assert not gone, f"{name}: {gone[:10]}"
    wrong = copy.deepcopy(dashboards()["overview"])
    panels(wrong)[6]["fieldConfig"]["defaults"]["custom"]["lineWidht"] = 1
    assert list(lost(wrong, through(wrong))), "an unknown key came through"


@case
def rules_are_valid_alone_and_in_the_chart():
    found = program("promtool", "check", "rules", "--lint=all", RULES)
    assert found.returncode == 0, found.stdout + found.stderr
    alerts = {"enabled": True, "runbookUrl": "https://git.example.org/runbooks"}
    values = merged(MINIMAL, {"alerts": {**alerts, "disabled": ["FantailUneven"], "labels": {"release": "p"}}})
    rule = the(render(values), "PrometheusRule")
    text = yaml.safe_dump(rule["spec"])
    assert 'job="fantail"' not in text and "RUNBOOKS" not in text and "FantailUneven" not in text
    assert 'namespace="events",job="fantail-admin"' in text and rule["metadata"]["labels"]["release"] == "p"
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        found = program("promtool", "check", "rules", "--lint=all", file.name)
        assert found.returncode == 0, found.stdout + found.stderr
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text.replace("sum by (", "sum by ((", 1))
        file.flush()
        assert program("promtool", "check", "rules", file.name).returncode != 0, "a broken rule went through"


@case
def each_alert_fires_and_stays_silent():
    tests = ROOT / "tests" / "kubernetes" / "alerts.test.yaml"
    found = program("promtool", "test", "rules", tests)
    assert found.returncode == 0, found.stdout + found.stderr
    seen = collections.defaultdict(set)
    for test in yaml.safe_load(tests.read_text())["tests"]:
        for each in test["alert_rule_test"]:
            seen[each["alertname"]].add(bool(each["exp_alerts"]))
    for rule in rules():
        if "alert" in rule:
            assert seen[rule["alert"]] == {True, False}, f"{rule['alert']}: a firing and a silent case"


@case
def each_alert_has_its_runbook():
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README"}
    named = set()
    for rule in rules():
        if "alert" not in rule:
            continue
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        notes = rule["annotations"]
        assert notes["summary"] and notes["description"]
        page = pathlib.PurePath(notes["runbook_url"])
        assert str(page.parent) == "RUNBOOKS", rule["alert"]
        named.add(page.stem)
        text = (ROOT / "docs" / "runbooks" / page.name).read_text()
        assert text.startswith(f"# {rule['alert']}\n"), f"{page.name} is another alert's"
    assert pages == named, f"pages without an alert, or alerts without a page: {pages ^ named}"


if __name__ == "__main__":
    run("watching", sys.argv[1:])
