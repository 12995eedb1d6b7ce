"""The figures for Prometheus: the page, the alerts and the dashboard name those that there are, and no others."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import mpengine
from mpengine.client.position import Received
from mpengine.shared import messages
from mpengine.shared.messages import Metrics
from mpengine.web.figures import Figures
from mpengine.web.hub import Hub

DOCS = Path(mpengine.__file__).parent / "docs"
# Of one kind each, so that each figure has a value. All fields of metrics are set.
STATUS = messages.Status(state="degraded", children={"capture": messages.ChildStatus(state="RUNNING")})
LEVEL = messages.Level(rms_dbfs=-30.0, peak_dbfs=-10.0, digital_silence=True, clipped=0.5)
GAP = messages.Gap(start_s=1.0, end_s=3.0, samples=32000, reason="device")
FINAL = messages.Transcript(text="a", is_final=True, start_time_ns=10**18, end_s=1.0, time_ns=2 * 10**18)
NUMBERS = {field.name: 1.5 for field in msgspec.structs.fields(Metrics) if field.type in {float, float | None}}
COUNTS = {"reconnects": 2, "restarts": 3, "withheld": 4}
METRICS = Metrics(**NUMBERS, **COUNTS, last={}, children={"capture": messages.ChildMetrics(cpu_s=2.5, rss_mb=3.0)})
OWN = {"clients": 1, "dropped": 2, "sent_bytes": 3, "refused": 4}


def page(*said, accept="application/openmetrics-text"):
    hub = Hub(("desk",))
    for message in said:
        topic = messages.topic_of("desk", message).partition(".")[2]
        hub.take(Received("desk", topic, messages.encode(message)), 1.0)
    text, _ = Figures(hub, lambda: OWN, "1.2").page(accept)
    return text.decode()


@pytest.fixture(scope="module")
def samples():
    text = page(STATUS, LEVEL, GAP, FINAL, METRICS, messages.Error(source="s", code="crash", message="m"))
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def _words(text):
    """The figures that a text names, without the endings of histograms."""
    return {re.sub("_(bucket|sum|count)$", "", word) for word in re.findall(r"\bmpengine_[a-z_]+[a-z]\b", text)}


@pytest.fixture(scope="module")
def names(samples):
    return _words(" ".join(sample.name for sample in samples if sample.name.startswith("mpengine_")))


def test_the_page_of_the_reference_has_each_figure_and_no_other(names):
    section = (DOCS / "web.md").read_text(encoding="utf-8").partition("\n## Figures\n")[2]
    named = {word for line in section.splitlines() if line.startswith("| `") for word in _words(line.split("|")[1])}
    assert named == names


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_alerts_and_dashboard_ask_for_figures_that_there_are(names, file):
    text = (DOCS / file).read_text(encoding="utf-8")
    if file == "dashboard.json":
        json.loads(text)
        text = " ".join(re.findall(r'"expr": "(.*)"', text))
    found = _words(text)
    assert len(found) > 8
    assert found - names == set()


def test_a_new_engine_has_few_figures_and_the_page_is_whole():
    assert page().endswith("# EOF\n")
    assert 'mpengine_up{engine="desk"} 0.0' in page()


def test_each_number_of_metrics_is_a_figure(samples):
    values = [sample.value for sample in samples if sample.labels == {"engine": "desk"}]
    assert values.count(1.5) >= len(NUMBERS)
    assert set(COUNTS.values()) <= set(values)


def test_plain_text_is_for_those_who_want_it():
    assert "# EOF" not in page(METRICS, accept="text/plain;version=0.0.4")
    assert "# EOF" in page(METRICS, accept="")


def test_what_a_peer_says_breaks_no_line_of_the_page():
    strange = {'a"\n\\b': messages.ChildMetrics(cpu_s=1.0)}
    assert list(text_string_to_metric_families(page(msgspec.structs.replace(METRICS, children=strange))))
