"""The sheet that is filled in at each scrape, and the registry that renders it."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from daemon.telemetry.families import TOLD_BY_US, Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Number = float | int | str | None


class Sheet:
    """One scrape's values. What nobody fills in is not told."""

    def __init__(self) -> None:
        self._families = {family.name: family for family in TOLD_BY_US}
        self._metrics: dict[str, Metric] = {}

    def tell(self, name: str, value: Number, /, **labels: str) -> None:
        """A value of the metric `onetrainerd_<name>`. None is not told; "NaN" and its like, as the journal has them, are numbers here.

        Raises:
            KeyError: the table has no such metric.
            ValueError: its labels are others.
        """
        if value is None:
            return
        family, metric = self._metric(name, labels)
        assert isinstance(metric, CounterMetricFamily | GaugeMetricFamily)
        metric.add_metric([labels[label] for label in family.labels], float(value))

    def tell_distribution(self, name: str, buckets: Iterable[tuple[str, float]], total: float, /, **labels: str) -> None:
        """A histogram: *buckets* are (upper bound, how many were not above it), the last bound +Inf; *total* is the sum of all."""
        family, metric = self._metric(name, labels)
        assert isinstance(metric, HistogramMetricFamily)
        metric.add_metric([labels[label] for label in family.labels], buckets=list(buckets), sum_value=total)

    def metrics(self) -> Iterator[Metric]:
        """In the order of the table."""
        return (self._metrics[name] for name in self._families if name in self._metrics)

    def _metric(self, name: str, labels: dict[str, str]) -> tuple[Family, Metric]:
        family = self._families[f"onetrainerd_{name}"]
        if set(labels) != set(family.labels):
            raise ValueError(f"{family.name} has the labels {family.labels}, not {tuple(labels)}")
        return family, self._metrics.setdefault(family.name, _empty(family))


def _empty(family: Family) -> Metric:
    kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}
    made: Metric = kinds[family.kind](family.name, family.help, labels=family.labels)
    return made


Fill = Callable[[Sheet], None]


class Telemetry(Collector):
    """Asks everybody who has something to tell, and renders it. Nothing here is global: two daemons in one process would not meet."""

    def __init__(self, fills: Iterable[Fill]) -> None:
        self._fills = tuple(fills)
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def also(self, fill: Fill) -> None:
        """Ask *fill* too, for what only some daemons have."""
        self._fills = (*self._fills, fill)

    def describe(self) -> Iterable[Metric]:
        return [_empty(family) for family in TOLD_BY_US]

    def collect(self) -> Iterable[Metric]:
        sheet = Sheet()
        for fill in self._fills:
            fill(sheet)
        return sheet.metrics()

    def render(self) -> bytes:
        """The text format of Prometheus. Of memory and /proc alone, so that it is called on the event loop."""
        return generate_latest(self.registry)
