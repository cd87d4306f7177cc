import re
from dataclasses import replace

import numpy as np
import pytest

from bot.domain.market import DAY_MS, HOUR_MS
from bot.web import curves
from bot.web.numbers import METRICS, when
from bot.web.report import cautions, heat, render
from bot.web.run import ReportData, judged
from tests.web.page import START_MS, Page, fill, identity, run

CUT_MS = START_MS + 30 * DAY_MS


def sections(run_: ReportData) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", render(run_))


def whole() -> ReportData:
    """Return a run with every section."""
    base = run(round_trips=30)
    return replace(
        base,
        identity=replace(base.identity, trained_to_ms=CUT_MS),
        in_sample=base.metrics,
    )


def test_a_whole_run_has_every_section():
    assert sections(whole()) == [
        "Before you believe it",
        "Equity",
        "Price and fills",
        "Figures",
        "Returns",
        "Costs",
        "Trades",
        "Bars without a position",
        "To run it again",
    ]


def test_what_is_missing_is_left_out():
    base = run()
    bare = ReportData(identity=base.identity, ts_ms=base.ts_ms, equity=base.equity, metrics={})
    assert sections(bare) == ["Equity", "Returns", "To run it again"]


def test_every_metric_is_on_the_page():
    page = Page(render(whole())).text
    assert [m.label for key, m in METRICS.items() if m.label not in page and key in whole().metrics] == []


def test_an_unknown_metric_is_shown_too():
    page = Page(render(run(metrics={"information_ratio": 0.5}))).text
    assert "information ratio" in page


def test_the_page_is_balanced_and_loads_nothing():
    html = render(whole())
    page = Page(html)
    assert not [a for _, a in page.tags if str(a.get("src") or a.get("href") or "#")[0] != "#"]
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</title><b>"]
)
def test_text_from_outside_is_escaped(evil):
    base = run(symbol=evil, flat_bars={evil: 3}, warnings=[evil])
    html = render(
        replace(
            base,
            identity=identity(title=evil, strategy=evil, params={evil: evil}, versions={evil: evil}),
            metrics=base.metrics | {evil: 1.0},
        )
    )
    page = Page(html)
    assert evil not in html
    assert page.count("img") == 0
    # The numbers of each chart, those of the trades, and the page's own script.
    assert page.count("script") == page.count("figure", **{"class": "time"}) + 2
    assert evil in page.text


def test_the_verdict_names_the_result_and_buy_and_hold():
    base = run(metrics={"net_pnl": -172.89, "total_return": -0.0173, "trades": 1763})
    text = " ".join(Page(render(replace(base, hold_metrics={"total_return": 0.041}))).text.split())
    assert "−172.89 (−1.73 %) on" in text
    assert "in 1,763 trades. Buy and hold: +4.10 %." in text


def test_a_run_without_trades_says_why_first():
    text = sections(run(round_trips=0))
    assert text[0] == "Why there was no trade"
    page = Page(render(run(round_trips=0))).text
    assert "Most often the expected gain is below the cost of a round trip." in page
    assert "70.00 %" in page


def test_the_in_sample_part_is_apart_and_marked():
    base = whole()
    page = Page(render(base))
    assert "partly in-sample" in page.text
    assert "in-sample part" in page.text
    start = base.equity[base.ts_ms > CUT_MS][0]
    assert f"on {start:,.2f} after" in page.text
    before = sum(trade.entry_ms < CUT_MS for trade in base.trades)
    assert f"{before} in-sample trades are left out" in page.text
    assert page.text.count("long ") == 30 - before
    assert page.texts.count("buy and hold") == 2  # a legend and a column of the first table
    assert page.count("rect", **{"class": "shade"}) == page.count("figure", **{"class": "time"})
    # Returns are of the rest: no cell for the first month, which was trained on.
    assert sum(a.get("class") in ("gain", "loss") for tag, a in page.tags if tag == "td") == 3


def test_a_run_wholly_in_sample_says_so():
    base = run()
    told = cautions(replace(base, identity=identity(trained_to_ms=int(base.ts_ms[-1]))))
    assert any("trained on all of this period" in text for text in told)


def test_costs_add_up_from_gross_to_net():
    figures = {"net_pnl": 10.0, "fees": 5.0, "slippage": 2.0, "funding": -1.0, "traded_notional": 1e4}
    html = render(run(metrics=figures))
    rows = re.findall(r'<th scope="row">([^<]+)</th><td>([^<]+)</td><td>([^<]+)</td><td><i', html)
    assert rows[:5] == [
        ("Before costs", "+18.00", "+18.00"),  # 10 + 5 + 2 + 1
        ("Fees", "−5.00", "−5.00"),
        ("Slippage", "−2.00", "−2.00"),
        ("Funding", "−1.00", "−1.00"),
        ("Net result", "+10.00", "+10.00"),
    ]


CAUTIONS = [
    ({"trades": 12}, {}, "Few trades: 12"),
    ({"days": 9, "trades": 50}, {}, "Few days: 9"),
    ({"trades": 50, "sharpe": 6.0, "win_rate": 0.9}, {}, "Too good to be true (Sharpe, Win rate)"),
    ({"fees": 1.0}, {"funding_source": "none"}, "No funding file"),
    ({"fees": 0.0, "slippage": 0.0}, {}, "No fees and no slippage"),
    ({}, {"trained_to_ms": CUT_MS}, "In-sample data"),
]


@pytest.mark.parametrize(("figures", "who", "words"), CAUTIONS)
def test_reasons_to_doubt_are_named(figures, who, words):
    sound = run(metrics={"trades": 400, "days": 300, "sharpe": 1.0, "fees": 1.0})
    assert cautions(sound) == []
    doubtful = replace(sound, identity=identity(**who), metrics=sound.metrics | figures)
    (caution,) = cautions(doubtful)
    assert words in caution


def test_what_a_run_says_itself_is_said_once():
    sound = run(metrics={"trades": 400, "days": 300, "sharpe": 6.0, "fees": 1.0})
    (caution,) = cautions(sound)
    assert cautions(replace(sound, warnings=[caution.removesuffix(".")])) == [caution.removesuffix(".")]


def test_a_ruined_account_is_named():
    base = run()
    equity = base.equity.copy()
    equity[700:] = -5.0
    assert any("Ruin" in text for text in cautions(replace(base, equity=equity)))
    Page(render(replace(base, equity=equity)))


def test_few_trades_are_all_listed_and_many_in_part():
    few, many = Page(render(run(round_trips=30))), Page(render(run(round_trips=300)))
    assert few.text.count("long ") == 30
    assert many.text.count("long ") == 28
    assert {"8 best", "8 worst", "Last 12 of 300"} <= set(many.texts)


def test_trades_are_listed_from_the_best_and_the_worst_down_and_up_to_the_last():
    base = run(round_trips=300)
    ranked = sorted(base.trades, key=lambda trade: trade.pnl_quote)
    entries = re.findall(r'<th scope="row">(\d{4}-\d\d-\d\d \d\d:\d\d)</th>', render(base))
    listed = [*ranked[::-1][:8], *ranked[:8], *base.trades[-12:]]
    assert entries[:28] == [when(trade.entry_ms) for trade in listed]


@pytest.mark.parametrize("bars", [0, 1, 2, 3])
def test_a_run_of_a_few_bars_can_be_shown(bars):
    html = render(run(bars=bars, round_trips=0))
    Page(html)
    assert not re.search(r"\bnan\b|\binf\b", html)


def test_a_long_run_stays_small():
    html = render(run(bars=500_000, round_trips=9_000, step_ms=60_000))
    assert len(html.encode()) < 1_500_000
    Page(html)


def test_the_same_run_gives_the_same_page():
    assert render(run()) == render(run())


def test_months_are_tinted_by_size_and_sign_and_years_compound():
    before, after = heat([(2023, 12, -0.05), (2024, 1, 0.10), (2024, 2, 0.10)])
    assert (before.year, before.total) == (2023, pytest.approx(-0.05))
    assert [(m.value, m.tint) for m in before.months if m] == [(-0.05, 39)]  # 8 + 62 × 0.05 / 0.10
    assert [m.tint for m in after.months if m] == [70, 70]
    assert after.months[2:] == [None] * 10
    assert after.total == pytest.approx(0.21)


def test_the_page_shows_months_as_percent_with_their_tint():
    html = render(run(bars=24 * 40))  # 18 March to 26 April
    cells = re.findall(r'<td class="(gain|loss)" style="--tint:(\d+)%">([+−])\d+\.\d</td>', html)
    assert len(cells) == 2
    assert [sign for _, _, sign in cells] == ["+" if tint == "gain" else "−" for tint, _, _ in cells]
    assert max(int(tint) for _, tint, _ in cells) == 70
    (year,) = re.findall(r'<tr><th scope="row">2024</th>(.*)</tr>', html)
    assert year.count("<td></td>") == 10
    assert re.search(r'<td class="total">[+−]\d+\.\d</td>$', year)


def test_curves_are_equity_drawdown_and_exposure_at_their_closes():
    base = run(bars=4, round_trips=0)
    equity, notional = np.array([100.0, 120.0, 90.0, 126.0]), np.array([0.0, 60.0, -45.0, 0.0])
    curves, below, held = Page(render(replace(base, equity=equity, notional=notional, prices=()))).charts
    assert curves["layers"][1]["c"] == [100, 120, 90, 126]
    assert curves["layers"][1]["t"] == base.ts_ms.tolist()
    assert below["layers"][0]["c"] == [0, 0, -0.25, 0]
    assert held["layers"][0]["c"] == [0, 0.5, -0.5, 0]


def test_rolling_sharpe_ends_with_the_last_whole_day():
    base = run()
    rolling = Page(render(base)).charts[3]["layers"][0]
    assert rolling["t"][-1] == base.ts_ms[-1] // DAY_MS * DAY_MS
    assert rolling["c"][28] is None
    assert rolling["c"][29] is not None


def test_each_price_carries_its_own_fills_and_bars_end_at_their_close():
    base = run(bars=50, round_trips=0)
    other = replace(base.prices[0], symbol="ETHUSDT")
    fills = [
        fill("Buy", 100.0, START_MS + HOUR_MS),
        fill("Sell", 101.0, START_MS + 2 * HOUR_MS),
        fill("Sell", 7.0, START_MS + HOUR_MS, symbol="ETHUSDT", cause="liquidation"),
    ]
    btc, eth = Page(render(replace(base, prices=[base.prices[0], other], fills=fills))).charts[-2:]
    assert btc["marks"]["s"] == [0, 1]
    assert btc["marks"]["v"] == [100, 101]
    assert btc["layers"][0]["t"][0] == START_MS + HOUR_MS
    assert (eth["marks"]["s"], eth["marks"]["v"]) == ([2], [7])


def test_too_many_fills_are_left_out_of_the_page(monkeypatch):
    monkeypatch.setattr(curves, "ZOOMABLE_FILLS", 39)
    assert "marks" not in Page(render(run(round_trips=20))).charts[-1]
    monkeypatch.setattr(curves, "ZOOMABLE_FILLS", 40)
    assert len(Page(render(run(round_trips=20))).charts[-1]["marks"]["t"]) == 40


def test_only_the_busiest_symbols_are_drawn(monkeypatch):
    monkeypatch.setattr(curves, "PRICE_CHARTS", 1)
    base = run()
    quiet = replace(base.prices[0], symbol="QUIET")
    page = Page(render(replace(base, prices=[quiet, *base.prices])))
    assert "BTCUSDT" in page.texts
    assert "QUIET" not in page.texts
    assert "1 more are left out" in page.text


def test_time_runs_from_the_first_open_to_the_last_close():
    html = render(run(bars=200))
    assert f'"from":{START_MS},"to":{START_MS + 200 * HOUR_MS}' in html


def test_a_halt_is_told_first_marked_in_every_chart_and_ends_the_monthly_figures():
    base = run()
    halted_ms = int(base.ts_ms[400])
    told = render(replace(base, notices=["halted by risk at noon"], judged_to_ms=halted_ms))
    assert told.index("halted by risk at noon") < told.index('class="tiles"')
    page = Page(told)
    assert page.count("line", **{"class": "halt"}) == page.count("figure", **{"class": "time"})
    assert {each["halted"] for each in page.charts} == {halted_ms}
    assert Page(render(base)).count("line", **{"class": "halt"}) == 0
    times, _ = judged(replace(base, judged_to_ms=halted_ms))
    assert (times[0], times[-1]) == (base.ts_ms[0], halted_ms)


def test_a_missing_yearly_rate_is_explained():
    figures = {"length_days": 12.5, "cagr": None, "days": 12, "trades": 50}
    told = Page(render(run(metrics=figures))).text
    assert "No yearly rate: the time measured is 12.5 days; a yearly rate needs 30." in told
