"""How long a close takes: quantiles in bounded memory, stations in order."""

import random

import pytest

from bot.adapters.net.stopwatch import Histogram, Stopwatch


def test_quantiles_are_at_most_one_bucket_above_the_true_ones() -> None:
    rng, histogram = random.Random(3), Histogram()
    seconds = sorted(rng.lognormvariate(-8.0, 1.5) for _ in range(2_000))
    for each in seconds:
        histogram.add(each)
    for q in (0.01, 0.5, 0.9, 0.99, 1.0):
        true_us = seconds[max(0, -(-int(q * 1e6) * 2_000 // 1_000_000) - 1)] * 1e6
        assert true_us * 0.999 <= histogram.quantile(q) <= true_us * 1.022 + 1.0


def test_what_is_beyond_the_buckets_counts_as_the_longest() -> None:
    histogram = Histogram()
    for seconds in (-1.0, 0.0, 1e-9, 1e9):
        histogram.add(seconds)
    assert histogram.facts() == {"n": 4, "p50": 1.0, "p99": 2.0**28, "max": 1e15}


def test_nothing_measured_is_zero() -> None:
    assert Histogram().facts() == {"n": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}


def test_the_last_bar_of_a_close_starts_the_watch_and_each_station_is_counted_from_it() -> None:
    watch = Stopwatch()
    watch.arrived(60_000, 1.0)
    watch.arrived(60_000, 2.0)
    watch.began(60_000, put_s=2.1, now_s=2.2)
    since_s = watch.since_s
    watch.decided(2.5)
    watch.left(since_s, 2.6)
    assert (since_s, watch.since_s) == (2.0, None)
    stations = (watch.handover, watch.waiting, watch.decision, watch.order)
    assert [each.max_us for each in stations] == pytest.approx([0.1e6, 0.1e6, 0.5e6, 0.6e6])
    assert watch.step.max_us == pytest.approx(0.3e6)  # from its start to its last decision


def test_a_close_whose_bars_did_not_come_by_the_stream_is_not_measured() -> None:
    watch = Stopwatch()
    watch.began(60_000, 2.1, 2.2)
    watch.decided(2.5)
    watch.left(watch.since_s, 2.6)
    assert watch.decision.count == watch.order.count == 0


def test_arrivals_of_closes_that_never_come_are_forgotten() -> None:
    watch = Stopwatch()
    for close in range(1, 1_000):
        watch.arrived(close * 60_000, float(close))
    watch.began(60_000, 0.0, 0.0)
    assert watch.since_s is None
    watch.began(999 * 60_000, 1000.0, 1000.0)
    assert watch.since_s == 999.0
