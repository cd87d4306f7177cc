"""What Prometheus scrapes. ``METRICS`` is the whole list: the code, the documentation and a test read it.

Every number comes from one status of the daemon. While no daemon answers, only ``bot_up`` and what this
process knows itself are told: an old number must not look like a new one. Labels are bounded: symbols that
hold a position, at most ``SYMBOLS_MAX`` of them, and names from our own tables.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from bot.service.readiness import State

SYMBOLS_MAX = 50
STATES = get_args(State)
_REASONS_MAX = 64
Status = Mapping[str, Any]
Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, object]]


@dataclass(frozen=True, slots=True)
class Described:
    """One metric: its name, what it is, its labels, and how it is read from a status."""

    name: str
    kind: Literal["gauge", "counter"]
    words: str
    read: Callable[[Status], Samples]
    labels: Labels = ()


def _plain(*path: str, scale: float = 1.0) -> Callable[[Status], Samples]:
    """Read one number of the status; none if it is not known."""

    def read(status: Status) -> Iterator[tuple[Labels, object]]:
        value: Any = status
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, int | float):
            yield (), value * scale

    return read


def _count(name: str) -> Callable[[Status], Samples]:
    return lambda status: [((), len(status.get(name) or ()))]


def _states(status: Status) -> Iterator[tuple[Labels, object]]:
    for state in STATES:
        yield (state,), float(status.get("state") == state)


def _refused(status: Status) -> Iterator[tuple[Labels, object]]:
    for reason, count in list((status.get("refused") or {}).items())[:_REASONS_MAX]:
        yield (str(reason),), count


def _limits(status: Status) -> Iterator[tuple[Labels, object]]:
    for row in status.get("limits") or ():
        yield (str(row["name"]),), row["used_frac"]


def _drifts(status: Status) -> Iterator[tuple[Labels, object]]:
    drift = status.get("drift") or {}
    for measure in ("inputs", "volatility", "bands") if drift else ():
        yield (measure,), float(measure in drift["beyond"])


def _retrained(status: Status) -> Iterator[tuple[Labels, object]]:
    for verdict, count in ((status.get("retrain") or {}).get("counts") or {}).items():
        yield (str(verdict),), count


def _retraining(status: Status) -> Iterator[tuple[Labels, object]]:
    retrain = status.get("retrain")
    if retrain:
        yield (), float(retrain["running_since_ms"] is not None)


def _unjudged(status: Status) -> Iterator[tuple[Labels, object]]:
    judged_ms = (status.get("retrain") or {}).get("judged_ms")
    if judged_ms is not None:
        yield (), (status["now_ms"] - judged_ms) / 1000.0


def _held(name: str) -> Callable[[Status], Samples]:
    def read(status: Status) -> Iterator[tuple[Labels, object]]:
        for row in (status.get("positions") or [])[:SYMBOLS_MAX]:
            yield (str(row["symbol"]),), row[name]

    return read


def _value(status: Status) -> Iterator[tuple[Labels, object]]:
    for row in (status.get("positions") or [])[:SYMBOLS_MAX]:
        if row["mark"] is not None:
            yield (str(row["symbol"]),), float(row["qty"]) * row["mark"]


_STATIONS = {
    "handover": "close_handover_us",
    "waiting": "close_waiting_us",
    "step": "step_us",
    "decision": "close_to_decision_us",
    "order": "tick_to_order_us",
    "keeping": "orders_kept_us",
}


def _latencies(status: Status) -> Iterator[tuple[Labels, object]]:
    for station, key in _STATIONS.items():
        facts = status.get(key)
        if isinstance(facts, Mapping) and facts["n"]:
            for quantile, name in (("0.5", "p50"), ("0.99", "p99"), ("1", "max")):
                yield (station, quantile), facts[name] / 1e6


def _info(status: Status) -> Samples:
    names = ("version", "mode", "feed", "strategy", "account", "model_hash")
    return [(tuple(str(status.get(name) or "")[:64] for name in names), 1.0)]


def _gauge(name: str, words: str, read: Callable[[Status], Samples], labels: Labels = ()) -> Described:
    return Described(name, "gauge", words, read, labels)


def _counter(name: str, words: str, read: Callable[[Status], Samples], labels: Labels = ()) -> Described:
    return Described(name, "counter", words, read, labels)


OWN: Mapping[str, str] = {
    "bot_up": "1 while the daemon answers, 0 while it hangs or is down",
    "bot_seen_timestamp_seconds": "When the daemon last answered",
    "bot_web_pages": "Pages that are open",
}
"""Metrics that this process knows by itself."""

METRICS: Sequence[Described] = (
    _gauge("bot_info", "Always 1; the labels say what runs", _info,
           ("version", "mode", "feed", "strategy", "account", "model_hash")),
    _gauge("bot_state", "1 for the state that the daemon is in", _states, ("state",)),
    _gauge("bot_equity_quote", "Value of the account at the marks", _plain("equity")),
    _gauge("bot_cash_quote", "Balance without open results", _plain("cash")),
    _gauge("bot_net_notional_quote", "Positions, long minus short, at the marks", _plain("net_notional")),
    _gauge("bot_day_pnl_quote", "Result since 00:00 UTC, open positions included", _plain("day_pnl")),
    _gauge("bot_trades_today", "Trades closed since 00:00 UTC", _plain("trades_today")),
    _gauge("bot_fees_quote", "Fees paid by this process; rebates lower it", _plain("fees")),
    _gauge("bot_funding_quote", "Funding received minus paid by this process", _plain("funding")),
    _gauge("bot_positions", "Open positions", _count("positions")),
    _gauge("bot_position_quote", "Value of a position at its mark; short is negative", _value, ("symbol",)),
    _gauge("bot_position_unrealised_quote", "Open result of a position", _held("unrealised"), ("symbol",)),
    _gauge("bot_model_trained_timestamp_seconds", "End of the bars that the model in use was fitted on",
           _plain("model_trained_to_ms", scale=1e-3)),
    _gauge("bot_drift_psi", "Mean stability index of the model's inputs against its training data",
           _plain("drift", "psi")),
    _gauge("bot_drift_qlike_excess", "QLIKE of the model's volatility above that of har_hour",
           _plain("drift", "qlike_excess")),
    _gauge("bot_drift_band_gap_frac", "Largest distance of a band's share of outcomes from its level",
           _plain("drift", "band_gap_frac")),
    _gauge("bot_drift_beyond", "1 for each measure of drift that is beyond its bound", _drifts, ("measure",)),
    _gauge("bot_retrain_running", "1 while a retraining by schedule runs", _retraining),
    _gauge("bot_retrain_judged_seconds", "Since one last came to a judgement", _unjudged),
    _counter("bot_retrain_attempts_total", "Retrainings by schedule that have ended, by verdict",
             _retrained, ("verdict",)),
    _gauge("bot_open_orders", "Live orders", _count("open_orders")),
    _gauge("bot_unknown_orders", "Orders of unknown fate", _plain("unknown_orders")),
    _gauge("bot_unknown_order_seconds", "Longest time that an order's fate is unknown",
           _plain("unknown_for_ms", scale=1e-3)),
    _gauge("bot_foreign_orders", "Working orders of the account that are not ours", _plain("foreign_orders")),
    _gauge("bot_limit_used_frac", "Used part of each limit; 1 is its bound", _limits, ("limit",)),
    _counter("bot_bars_total", "Closed bars taken by this process", _plain("bars")),
    _counter("bot_closes_total", "Closes decided on in time by this process", _plain("closes")),
    _counter("bot_orders_total", "Orders sent by this process", _plain("orders")),
    _counter("bot_fills_total", "Executions of this process", _plain("fills")),
    _counter("bot_refused_total", "Intents refused, by check", _refused, ("reason",)),
    _counter("bot_steps_cut_total", "Steps that took too long and lost their entries", _plain("steps_cut")),
    _gauge("bot_last_bar_timestamp_seconds", "Close of the last bar", _plain("last_bar_ms", scale=1e-3)),
    _gauge("bot_clock_timestamp_seconds", "The exchange's time", _plain("now_ms", scale=1e-3)),
    _gauge("bot_feed_up", "1 while the feed has its data", _plain("feed_facts", "up")),
    _gauge("bot_feed_lag_seconds", "From the last close to the arrival of its last candle",
           _plain("feed_lag_ms", scale=1e-3)),
    _gauge("bot_feed_stale_symbols", "Symbols that are silent now", _plain("feed_facts", "stale")),
    _counter("bot_feed_reconnects_total", "Connections of the feed made anew",
             _plain("feed_facts", "reconnects")),
    _counter("bot_feed_gaps_total", "Runs of bars that do not exist", _plain("feed_facts", "gaps")),
    _counter("bot_feed_bad_messages_total", "Messages that could not be read",
             _plain("feed_facts", "bad_messages")),
    _gauge("bot_venue_up", "1 while the line to a remote venue is up", _plain("venue_up")),
    _gauge("bot_latency_seconds", "Time of each station of a close, by quantile; 1 is the longest",
           _latencies, ("station", "quantile")),
    _gauge("bot_inbox_lag_seconds", "Age of the oldest event that waits", _plain("inbox_lag_ms", scale=1e-3)),
    _gauge("bot_loop_lag_max_seconds", "Latest that the event loop was late",
           _plain("loop_lag_max_ms", scale=1e-3)),
    _gauge("bot_resident_bytes", "Memory of the daemon", _plain("process", "rss_mb", scale=1e6)),
    _gauge("bot_open_descriptors", "Open files and sockets of the daemon", _plain("process", "descriptors")),
    _counter("bot_log_lines_dropped_total", "Log lines that nobody will read", _plain("log_lines_dropped")),
)  # fmt: skip


class _OneScrape(Collector):
    """The families of one status."""

    def __init__(self, status: Status | None, seen_ms: int | None, pages: int) -> None:
        self._status = status
        self._own = {
            "bot_up": float(status is not None),
            "bot_seen_timestamp_seconds": None if seen_ms is None else seen_ms / 1000.0,
            "bot_web_pages": float(pages),
        }

    def collect(self) -> Iterator[Metric]:
        for name, known in self._own.items():
            yield GaugeMetricFamily(name, OWN[name], value=known)
        if self._status is None:
            return
        for described in METRICS:
            yield self._family(described, self._status)

    @staticmethod
    def _family(described: Described, status: Status) -> Metric:
        name = described.name.removesuffix("_total")  # a counter's text adds it again
        kind = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
        family = kind(name, described.words, labels=described.labels)
        for labels, value in described.read(status):
            if isinstance(value, int | float) and isfinite(value):
                family.add_metric(labels, float(value))
        return family


def text(status: Status | None, seen_ms: int | None, pages: int) -> bytes:
    """Return the text of one scrape; ``status`` is None while no daemon answers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OneScrape(status, seen_ms, pages))
    return generate_latest(registry)


CONTENT_TYPE = CONTENT_TYPE_LATEST
