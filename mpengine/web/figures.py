"""The engines' figures for Prometheus, in OpenMetrics: each scrape shows what the hub knows at that moment.

This is the only module that knows prometheus_client. Names and units follow its conventions: base units, in the name.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from mpengine.shared.messages import ChildMetrics, EngineState, Metrics
from mpengine.web.hub import DELAYS_S, Hub, View

_MEGABYTE = 1_000_000
_OPENMETRICS = "application/openmetrics-text"
# Field of `metrics`, name, what it is. Positions of what was sent and transcribed may go back: they are gauges.
_COUNTED = (
    ("captured_s", "mpengine_captured_seconds", "Audio captured, on the run's sample clock."),
    ("acknowledged_s", "mpengine_acknowledged_seconds", "Audio that results or silence account for, on that clock."),
    ("dropped_s", "mpengine_dropped_seconds", "Audio that no recogniser will hear."),
    ("replayed_s", "mpengine_replayed_seconds", "Audio that was sent again after a lost connection."),
    ("gated_s", "mpengine_gated_seconds", "Silence that was not sent."),
    ("reconnects", "mpengine_reconnects", "Connections to the recogniser after the first one."),
    ("restarts", "mpengine_restarts", "Processes of the engine that were started again."),
    ("withheld", "mpengine_withheld_finals", "Finals not published, or not whole: their words had been published."),
)
_GAUGED = (
    ("sent_s", "mpengine_sent_position_seconds", "Position of what was sent on the current connection."),
    ("transcribed_s", "mpengine_transcribed_position_seconds", "Position of what results cover."),
    ("backlog_s", "mpengine_backlog_seconds", "Audio captured and not sent yet."),
    ("catch_up_s", "mpengine_catch_up_seconds", "How long sending the backlog takes."),
    ("lag_s", "mpengine_lag_seconds", "Audio sent and not transcribed."),
    ("refused_s", "mpengine_refused_seconds", "For how long the recogniser has refused the engine."),
    ("uptime_s", "mpengine_uptime_seconds", "For how long the supervisor has run."),
    ("source_s", "mpengine_source_seconds", "Length of the file that is read; absent for a microphone."),
)


class Figures(Collector):
    """Gives what the hub knows, and what the server counts of its own readers."""

    def __init__(self, hub: Hub, own: Callable[[], dict[str, float]], version: str) -> None:
        """`own`: `clients`, `dropped`, `sent_bytes` and `refused` of the server, which is of that `version`."""
        self._hub, self._own, self._version = hub, own, version
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def page(self, accept: str) -> tuple[bytes, str]:
        """The page for a client that accepts `accept`, and its type: OpenMetrics, unless plain text alone is wanted."""
        encoder, content_type = choose_encoder(accept if "text/plain" in accept else _OPENMETRICS)
        text: bytes = encoder(self._registry)
        return text, content_type

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        views = list(self._hub.views.values())
        yield InfoMetricFamily("mpengine_web", "This server.", value={"version": self._version})
        yield _gauge("mpengine_up", "Whether the engine is heard.", ((view, float(view.is_heard)) for view in views))
        yield _states(views)
        known = [(view, view.metrics) for view in views if view.metrics is not None]
        for field, name, about in _COUNTED:
            yield _counter(name, about, ((view, getattr(metrics, field)) for view, metrics in known))
        for field, name, about in _GAUGED:
            values = ((view, getattr(metrics, field)) for view, metrics in known)
            yield _gauge(name, about, ((view, value) for view, value in values if value is not None))
        statuses = [(view, view.status) for view in views if view.status is not None]
        about = "Audio without a result, when the state last changed."
        values = ((view, status.unacknowledged_s) for view, status in statuses)
        yield _gauge("mpengine_unacknowledged_seconds", about, values)
        yield from _levels(views)
        yield from _children(views, known)
        yield from _results(views)
        yield from self._of_this_server()

    def _of_this_server(self) -> Iterator[Metric]:
        own = self._own()
        yield GaugeMetricFamily("mpengine_web_clients", "Readers of /events.", value=own["clients"])
        dropped, about = "mpengine_web_dropped_clients", "Readers that were too slow."
        yield CounterMetricFamily(dropped, about, value=own["dropped"])
        refused, about = "mpengine_web_refused_requests", "Requests without the token, or from strangers' pages."
        yield CounterMetricFamily(refused, about, value=own["refused"])
        yield CounterMetricFamily("mpengine_web_sent_bytes", "Events sent, to all readers.", value=own["sent_bytes"])


_Values = Iterator[tuple[View, float]]


def _gauge(name: str, about: str, values: _Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=["engine"])
    for view, value in values:
        family.add_metric([view.name], value)
    return family


def _counter(name: str, about: str, values: _Values) -> CounterMetricFamily:
    family = CounterMetricFamily(name, about, labels=["engine"])
    for view, value in values:
        family.add_metric([view.name], value)
    return family


def _states(views: list[View]) -> StateSetMetricFamily:
    family = StateSetMetricFamily("mpengine_state", "The engine's state.", labels=["engine"])
    for view in views:
        if view.status is not None:
            family.add_metric([view.name], {state.value: view.status.state == state for state in EngineState})
    return family


def _levels(views: list[View]) -> Iterator[Metric]:
    heard = [(view, view.level) for view in views if view.level is not None and view.is_heard]
    loudness = GaugeMetricFamily("mpengine_level_dbfs", "Loudness, dB below full scale.", labels=["engine", "kind"])
    for view, level in heard:
        loudness.add_metric([view.name, "rms"], level.rms_dbfs)
        loudness.add_metric([view.name, "peak"], level.peak_dbfs)
    yield loudness
    about = "Share of the samples at full scale."
    yield _gauge("mpengine_clipped_ratio", about, ((view, level.clipped) for view, level in heard))
    about = "Whether the microphone gives nothing but zeros."
    yield _gauge("mpengine_digital_silence", about, ((view, float(level.digital_silence)) for view, level in heard))


def _children(views: list[View], known: list[tuple[View, Metrics]]) -> Iterator[Metric]:
    labels = ["engine", "child"]
    running = GaugeMetricFamily("mpengine_child_up", "Whether the process does its work.", labels=labels)
    restarts = CounterMetricFamily("mpengine_child_restarts", "How often it was started again.", labels=labels)
    for view in views:
        for name, child in view.status.children.items() if view.status else ():
            running.add_metric([view.name, name], float(child.state == "RUNNING" and view.is_heard))
            restarts.add_metric([view.name, name], child.restarts)
    cpu = CounterMetricFamily("mpengine_child_cpu_seconds", "Processor time.", labels=labels)
    memory = GaugeMetricFamily("mpengine_child_resident_memory_bytes", "Resident memory.", labels=labels)
    for view, metrics in known:
        for name, usage in metrics.children.items():
            _add_usage(cpu, memory, [view.name, name], usage)
    yield from (running, restarts, cpu, memory)


def _add_usage(cpu: CounterMetricFamily, memory: GaugeMetricFamily, labels: list[str], usage: ChildMetrics) -> None:
    if usage.cpu_s is not None:
        cpu.add_metric(labels, usage.cpu_s)
    if usage.rss_mb is not None:
        memory.add_metric(labels, usage.rss_mb * _MEGABYTE)


def _results(views: list[View]) -> Iterator[Metric]:
    yield _counter("mpengine_finals", "Finals that this server has heard.", ((view, view.finals) for view in views))
    spoken = ((view, view.last_final_ns / 1e9) for view in views if view.last_final_ns)
    yield _gauge("mpengine_last_final_timestamp_seconds", "When the last final was published.", spoken)
    about = "Lost messages that were reported: each a stretch of them."
    yield _counter("mpengine_holes", about, ((view, view.holes) for view in views))
    about = "Messages that this server could not pass on."
    yield _counter("mpengine_unreadable_messages", about, ((view, view.unreadable) for view in views))
    about = "Audio that no recogniser will hear, or was not to hear."
    gaps = CounterMetricFamily("mpengine_gap_seconds", about, labels=["engine", "reason"])
    errors = CounterMetricFamily("mpengine_errors", "Errors that the engine has told.", labels=["engine", "code"])
    about = "From the end of a final's audio to its publication."
    delays = HistogramMetricFamily("mpengine_final_delay_seconds", about, labels=["engine"])
    for view in views:
        for reason, seconds in view.gaps_s.items():
            gaps.add_metric([view.name, reason], seconds)
        for code, count in view.errors.items():
            errors.add_metric([view.name, code], count)
        total, buckets = 0, []
        for bound, count in zip([*map(str, DELAYS_S), "+Inf"], view.delays.counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        delays.add_metric([view.name], buckets, sum_value=view.delays.sum_s)
    yield from (gaps, errors, delays)
