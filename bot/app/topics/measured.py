"""``bot help metrics``: every name of ``/metrics``, from the table that a scrape is made of."""

from bot.app.topics.page import Entry, Page, Section
from bot.web.server.metrics import METRICS, OWN, SYMBOLS_MAX


def page() -> Page:
    """Return every metric with its kind and labels."""
    told = [
        Entry(
            each.name,
            f"{each.words}.",
            {"kind": each.kind} | ({"labels": ", ".join(each.labels)} if each.labels else {}),
        )
        for each in METRICS
    ]
    own = [Entry(name, f"{words}.", {"kind": "gauge"}) for name, words in OWN.items()]
    return Page(
        "metrics",
        "`bot run --web-port P` and `bot web` serve them at /metrics for Prometheus: on this machine without "
        "a token, from elsewhere with `Authorization: Bearer` and the token. config/grafana/bot.json is a "
        "dashboard. Units stand in the names: _quote is USDT, _seconds, _bytes, _frac is a fraction of 1. "
        f"Symbols are told while they hold a position, at most {SYMBOLS_MAX}.",
        [
            Section("Always told", own),
            Section(
                "Told while the daemon answers", told, "A number that is not known is left out, never 0."
            ),
        ],
    )
