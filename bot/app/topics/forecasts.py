"""``bot help forecasts``: every column of a prediction with its unit, from the forecast's own fields."""

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import first_words, members
from bot.domain.market import Forecast


def page() -> Page:
    """Return the columns of `bot predict` and the fields of `view.forecast`: they are the same."""
    start = Entry("start_ms", "Open time of the bar, ms since 1970 (UTC). The forecast is made at its close.",
                  {"type": "int"})  # fmt: skip
    return Page(
        "forecasts",
        "`view.forecast` in a strategy, and the columns of `bot predict --out FILE.parquet`, one row a bar.",
        [Section("Columns", [start, *members(Forecast)], first_words(Forecast))],
    )
