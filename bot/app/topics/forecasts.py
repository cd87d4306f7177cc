"""``bot help forecasts``: every column of a prediction with its unit, from the forecast's own fields."""

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import first_words, members
from bot.domain.market import FORECAST_FIELDS, Forecast
from bot.strategy import NextHour


def page() -> Page:
    """Return the columns of `bot predict` and the fields of `view.forecast`: they are the same."""
    start = Entry("start_ms", "Open time of the bar, ms since 1970 (UTC). The forecast is made at its close.",
                  {"type": "int"})  # fmt: skip
    columns = [each for each in members(Forecast) if each.name in FORECAST_FIELDS]
    others = Entry(
        'forecast["rv_240m"]',
        "A column by its name. A model of `bot train --definition` with `[targets] minutes = [30, 240]` has "
        "the columns rv_240m, rv_log_sd, ret_30m, ret_240m, ret_30m_scale and ret_240m_scale in their place, "
        'and so have models of `bot.fit(..., target="rv_240m")`; '
        "the fields above that it does not forecast are NaN. A strategy names what it reads on its class: "
        '`forecast_fields = ("rv_240m",)`; a model without it is then refused before the first bar. '
        "`forecast.hourly_variance` is the variance per hour, whatever the horizon: rv_60m, or rv_240m / 4.",
        {"type": "float"},
    )
    return Page(
        "forecasts",
        "`view.forecast` in a strategy, and the columns of `bot predict --out FILE.parquet`, one row a bar.",
        [
            Section("Columns", [start, *columns], first_words(Forecast)),
            Section("Horizons of your own", [others]),
            Section(
                "Ranges: `from bot.strategy import NextHour`", [*members(NextHour)], first_words(NextHour)
            ),
        ],
    )
