"""The words of a message: a short title, then what happened, what to do and when. Pure but for UTC."""

from dataclasses import dataclass

from bot.domain.alerts import Alert, Level
from bot.service.moments import clock_words, second_words
from bot.service.notify.outbox import Batch, names_of, worst

_ALERT_CHARS = 600
"""Most characters of one alert's words; the venue's texts have no bound of their own."""
_ALONE_CHARS = 1_500


@dataclass(frozen=True)
class Message:
    """A message as it leaves: plain text."""

    title: str
    body: str
    level: Level


def message_of(batch: Batch, bot_name: str) -> Message:
    """Return the message of a batch; ``bot_name`` begins its title."""
    alerts = batch.shown
    top, more = worst(alerts), sum(batch.more.values())
    if len(alerts) == 1 and not more:
        body = [
            _cut(top.words, _ALONE_CHARS),
            *([f"What to do: {top.do}"] if top.do else []),
            second_words(top.ts_ms),
        ]
        return Message(f"{bot_name}: {_headline(top)}", "\n".join(body), top.level)
    title = f"{bot_name}: {_headline(top)} and {len(alerts) + more - 1} more"
    lines = [_line(alert) for alert in alerts]
    if more:
        lines.append(f"and {more} more: {names_of(batch.more)}")
    return Message(title, "\n".join(lines), top.level)


def _line(alert: Alert) -> str:
    mark = "" if alert.level == "info" else f"{alert.level.upper()} "
    do = f" What to do: {alert.do}" if alert.do else ""
    return f"{clock_words(alert.ts_ms, alert.ts_ms)} {mark}{_cut(alert.words, _ALERT_CHARS // 3)}{do}"


def _headline(alert: Alert) -> str:
    symbol = alert.facts.get("symbol")
    return alert.name.replace("_", " ") + (f" {symbol}" if symbol else "")


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
