import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS
from bot.web import charts
from bot.web.charts import Layer, Marks, TimeChart
from tests.web.page import START_MS, Page

finite = st.floats(-1e9, 1e9).map(lambda v: round(v, 6))


def chart(values, *, shape="line", marks=None, **changes) -> TimeChart:
    ts = START_MS + HOUR_MS * np.arange(len(values))
    layer = Layer("a curve", charts.bin_values(ts, np.array(values, float), 5000), "strategy", shape)
    return TimeChart(**({"title": "t", "unit": "number", "layers": [layer], "marks": marks} | changes))


def drawn(it: TimeChart, bars: int) -> str:
    return charts.time_chart(it, START_MS, START_MS + HOUR_MS * (bars - 1))


# Ticks


def test_nice_ticks_by_hand():
    assert charts.nice_ticks(0.0, 10.0, 5) == [0, 2, 4, 6, 8, 10]
    assert charts.nice_ticks(-0.012, 0.031, 5) == [-0.01, 0.0, 0.01, 0.02, 0.03]
    assert charts.nice_ticks(61_020.0, 61_930.0, 4) == [61_250, 61_500, 61_750]
    assert charts.nice_ticks(3.0, 3.0) == [3.0]


@given(finite, finite, st.integers(2, 12))
def test_ticks_are_few_even_and_inside(a, b, count):
    low, high = min(a, b), max(a, b)
    if high - low < 1e-3:
        return
    ticks = charts.nice_ticks(low, high, count)
    slack = 1e-6 * (high - low)
    assert len(ticks) <= count + 1
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert np.ptp(np.diff(ticks)) <= slack if len(ticks) > 1 else True


def test_labels_have_the_decimals_that_the_step_needs():
    assert charts.tick_label(1200.0, 200.0, "money") == "1,200"
    assert charts.tick_label(-0.025, 0.005, "percent") == "−2.5 %"
    assert charts.tick_label(0.25, 0.25, "number") == "0.25"
    assert charts.tick_label(2.5, 2.5, "number") == "2.5"


def test_time_ticks_by_hand():
    half_day = charts.time_ticks(START_MS, START_MS + 12 * HOUR_MS)
    assert [label for _, label in half_day] == [
        "18 Mar",
        "02:00",
        "04:00",
        "06:00",
        "08:00",
        "10:00",
        "12:00",
    ]
    month = charts.time_ticks(START_MS, START_MS + 30 * DAY_MS)
    assert [label for _, label in month] == ["18 Mar", "25 Mar", "1 Apr", "8 Apr", "15 Apr"]
    year = charts.time_ticks(START_MS, START_MS + 365 * DAY_MS)
    assert [label for _, label in year] == ["May", "Jul", "Sep", "Nov", "2025", "Mar"]
    decades = charts.time_ticks(START_MS, START_MS + 9000 * DAY_MS)
    assert [label for _, label in decades] == ["2025", "2030", "2035", "2040", "2045"]


@given(st.integers(0, 2_000_000_000_000), st.integers(MINUTE_MS, 20 * 365 * DAY_MS))
def test_time_ticks_are_few_ascending_and_inside(from_ms, span_ms):
    ticks = [ms for ms, _ in charts.time_ticks(from_ms, from_ms + span_ms)]
    assert len(ticks) <= 10
    assert all(a < b for a, b in pairwise(ticks))
    assert all(from_ms <= ms <= from_ms + span_ms for ms in ticks)


# Downsampling


@given(st.lists(finite, min_size=1, max_size=300), st.integers(1, 50))
def test_bins_keep_every_extreme_and_the_last_value(values, limit):
    ts = np.arange(len(values)) * HOUR_MS
    bins = charts.bin_values(ts, np.array(values), limit)
    assert len(bins) <= limit or len(values) <= limit
    assert bins.high.max() == max(values)
    assert bins.low.min() == min(values)
    assert (bins.close[-1], bins.ts_ms[-1]) == (values[-1], ts[-1])


def test_bins_by_hand():
    bins = charts.bin_values(np.arange(5), np.array([3.0, 1, 2, 9, 7]), 2)
    assert bins.ts_ms.tolist() == [2, 4]
    assert [bins.open.tolist(), bins.high.tolist()] == [[3, 9], [3, 9]]
    assert [bins.low.tolist(), bins.close.tolist()] == [[1, 7], [2, 7]]


def test_the_future_cannot_change_past_bins():
    values = np.random.default_rng(0).normal(size=100)
    changed = values.copy()
    changed[50:] *= 10
    before, after = (charts.bin_values(np.arange(100), v, 10) for v in (values, changed))
    assert before.high[:5].tolist() == after.high[:5].tolist()
    assert before.close[:5].tolist() == after.close[:5].tolist()


# Drawing


def test_a_line_is_broken_where_it_is_undefined():
    path = charts.line_path(np.array([0.0, 1, 2, 3]), np.array([5.0, np.nan, 6.25, 7]))
    assert path == "M0 5M2 6.2L3 7"


def test_a_band_goes_out_on_top_and_back_below_and_skips_what_is_undefined():
    top, bottom = np.array([1.0, np.nan, 2.0]), np.array([5.0, 6.0, 7.0])
    assert charts.band_path(np.array([0.0, 1, 2]), top, bottom) == "M0 1L2 2L2 7L0 5Z"


def test_a_curve_spans_the_plot_from_its_lowest_to_its_highest_value():
    html = drawn(chart([0.0, 100.0], height=112), 2)
    # 6 % air each way: 100 of 112 px between the extremes.
    assert 'class="strategy line" d="M0 106L1000 6"' in html


def test_up_candles_are_hollow_and_wicks_reach_high_and_low():
    one = np.array([10.0])
    bins = charts.Bins(
        np.array([START_MS + HOUR_MS]), one, np.array([14.0]), np.array([8.0]), np.array([12.0])
    )
    it = TimeChart(title="t", unit="number", layers=[Layer("", bins, "price", "price")], height=112)
    html = charts.time_chart(it, START_MS, START_MS + HOUR_MS)
    assert 'class="candle up"' in html
    assert "M500.0 6.0V106.0M" in html
    assert 'class="candle down"' not in html


def test_a_price_of_many_bars_is_a_line_in_its_band():
    html = drawn(chart(np.arange(500) % 7, shape="price"), 500)
    assert "candle" not in html
    assert "price line" not in html  # the style is the layer's own
    assert "strategy line" in html


def fills_at(count: int) -> Marks:
    ts = START_MS + HOUR_MS * np.arange(count)
    return Marks(ts, np.full(count, 50.0), np.full(count, 0.1), np.arange(count) % 3)


def test_few_fills_are_markers_and_many_a_strip():
    few, many = (drawn(chart(np.arange(1000), marks=fills_at(n)), 1000) for n in (9, 900))
    assert Page(few).count("use", href="#buy") == Page(few).count("use", href="#sell") == 3
    assert Page(few).count("use", href="#liquidation") == 3
    assert Page(many).count("use") == 0
    assert Page(many).count("path", **{"class": "density"}) == 1


def test_a_chart_carries_its_numbers_for_redrawing():
    html = drawn(chart([1.0, np.nan, 2.5], marks=fills_at(2), title="</script><b>"), 3)
    start = html.index('application/json">') + len('application/json">')
    spec = json.loads(html[start : html.index("</script>", start)])
    assert spec["layers"][0]["t"] == [0, 3600, 3600]  # seconds since the last
    assert spec["layers"][0]["c"] == [1.0, None, 2.5]
    assert spec["marks"] == {"t": [0, 3600], "v": [50, 50], "q": [0.1, 0.1], "s": [0, 1]}
    assert "h" not in spec["layers"][0]
    Page(html)


def test_json_cannot_end_its_script():
    assert "</" not in charts.script_json({"a": "</script>"})


def test_the_shade_covers_the_in_sample_part():
    html = drawn(chart(np.arange(101), shade_to_ms=START_MS + 25 * HOUR_MS), 101)
    assert '<rect class="shade" width="25.00%"' in html
    assert "shade" not in drawn(chart([1, 2], shade_to_ms=START_MS - 1), 2).split("<script")[0]


@pytest.mark.parametrize("values", [[], [5.0], [5.0, 5.0], [0.0, 0.0], [np.nan, np.nan]])
@pytest.mark.parametrize("shape", ["line", "area", "price"])
def test_nothing_and_flat_curves_can_be_drawn(values, shape):
    if shape == "price" and np.isnan(values).any():
        return  # a price is a number
    html = drawn(chart(values, shape=shape), len(values))
    Page(html)
    assert "nan" not in html
    assert "inf" not in html


# Others


def test_a_histogram_counts_every_value_and_splits_at_zero():
    html = charts.histogram(np.array([-0.02, -0.01, 0.0, 0.011, 0.02]), title="h")
    bars = [a for tag, a in Page(html).tags if tag == "rect" and a["height"] != "0.0"]
    assert [a["class"] for a in bars] == ["loss", "loss", "gain", "gain", "gain"]
