"""``bot help files``: what the program reads and writes, with the columns that its readers check."""

from collections.abc import Mapping

from bot.adapters.files.candles import CANDLE_COLUMNS, FUNDING_COLUMNS
from bot.adapters.files.columns import MAX_ROWS
from bot.adapters.model.checkpoint import MANIFEST, WEIGHTS, Manifest
from bot.adapters.recordings.files import SUFFIX
from bot.adapters.state.index import NAME as INDEX
from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import first_words
from bot.domain.market import INTERVALS_MS

_CELLS = {
    "start_ms": "Open time, ms since 1970 (UTC); for funding the time of the settlement.",
    "open": "Quote per base.",
    "high": "Quote per base.",
    "low": "Quote per base.",
    "close": "Quote per base.",
    "volume": "In base.",
    "turnover": "In quote; may be missing.",
    "rate": "Fraction of the position's value; longs pay shorts when it is positive.",
}


def page() -> Page:
    """Return candle, funding, model and recording files, and the state directory."""
    return Page(
        "files",
        "Where a Parquet file is accepted, a CSV with the same columns is, too. Nothing is ever unpickled.",
        [
            Section(
                "Candles",
                _columns(CANDLE_COLUMNS),
                "VENUE_MARKET_SYMBOL_INTERVAL.parquet, such as bybit_linear_BTCUSDT_5m.parquet. MARKET is "
                "linear or spot (no shorts, no credit, no funding); inverse is refused. Rows are "
                f"sorted, unique and aligned to the interval ({', '.join(INTERVALS_MS)}); at most "
                f"{MAX_ROWS:,} of them. A bad row is refused with its number.",
            ),
            Section(
                "Funding",
                _columns(FUNDING_COLUMNS),
                "bybit_linear_BTCUSDT_funding.parquet beside the candles is found by itself. A file for "
                "`--funding` must have a name of this form, too.",
            ),
            Section(
                "Instrument rules",
                [
                    Entry(
                        "bybit_linear_instruments.json",
                        "Steps, minima, funding interval and risk tiers by symbol; decimals are strings.",
                    )
                ],
                "For `--instrument FILE`. `bot data fetch --instruments` writes it.",
            ),
            Section(
                "Model directory",
                [
                    Entry(WEIGHTS, "The weights as safetensors."),
                    Entry(MANIFEST, first_words(Manifest), {"fields": ", ".join(Manifest.__struct_fields__)}),
                ],
            ),
            Section(
                "State directory (state_dir)",
                [
                    Entry(
                        "journal/ACCOUNT/000001.jsonl",
                        "The journal: JSON lines with a running checksum; `bot help events`. ACCOUNT is the "
                        "kind of venue and a number, such as paper-1.",
                    ),
                    Entry(
                        f"journal/ACCOUNT/{INDEX}", "An index for readers; it is rebuilt from the journal."
                    ),
                    Entry("halted", "The mark of a halt; `bot unhalt` removes it."),
                    Entry(
                        "models/",
                        "Models of yours and of retraining; schedule.json says when the next one is due.",
                    ),
                    Entry(
                        "sweeps/", "What sweeps and walk-forwards tried, so that they go on and are counted."
                    ),
                    Entry("screens/", "What screens tried."),
                    Entry("reports/", "Reports that are put here are listed on the page."),
                    Entry("control.sock", "The private socket of the daemon."),
                    Entry("web-token", "The secret of the page, readable by its owner alone."),
                    Entry("candles/", "Where `bot data fetch` writes, unless data_dir says otherwise."),
                ],
            ),
            Section(
                "Recordings",
                [
                    Entry(
                        f"*{SUFFIX}", "Public frames as they came, each with its local time, by `bot record`."
                    )
                ],
                "`bot exchange --data DIR` replays a folder as it was: the recorded topics send the "
                "recorded frames to the last letter, and orders meet the recorded book, trades and marks. "
                "A stop that a trade triggers meets the first book after this trade. Where the recording "
                "has a gap, the book is empty. A candle file beside it (`--data DIR --data FILE`) gives the "
                "candles before it, for a warm-up. `bot data verify DIR` names the gaps: connections lost, "
                "missed frames, kills. A kill loses at most the last two seconds.",
            ),
            Section(
                "Backups",
                [
                    Entry(
                        "FILE.tar.gz",
                        "Journals with snapshots, the halt and who ran last. No key and no token is in it.",
                    )
                ],
                "`bot backup FILE` writes one, `bot restore FILE` puts it back.",
            ),
        ],
    )


def _columns(kinds: Mapping[str, str]) -> list[Entry]:
    return [Entry(name, _CELLS[name], {"type": kind}) for name, kind in kinds.items()]
