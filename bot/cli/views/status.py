"""``bot status`` for people: the state with its cause, the account, orders, limits, the latest alerts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from bot.cli.terminal.numbers import UNKNOWN, money, percent, price, quantity, span
from bot.service.moments import clock_cell, clock_words, in_zone
from bot.service.retraining.words import retraining_words

Status = Mapping[str, Any]
"""What the daemon answers: ``bot status --json``. A field that an older daemon lacks is left out."""

_COLOURS = {"trading": "green", "halted": "bold red", "stopping": "red"}
_HELD = "yellow"
_ALERTS = 3
_BAR = 10
_ALWAYS = frozenset({"max_daily_loss_frac", "max_drawdown_frac"})
_LIMITS = {
    "max_daily_loss_frac": "loss today",
    "max_drawdown_frac": "loss from the peak",
    "max_leverage": "leverage",
    "max_total_notional_quote": "all positions",
    "max_position_notional_quote": "largest position",
    "max_daily_notional_quote": "entries today",
    "max_orders_per_minute": "entries a minute",
    "max_consecutive_rejects": "refusals in a row",
    "max_consecutive_losses": "losses in a row",
    "max_data_age_ms": "market silence",
    "unknown_order_reduce_ms": "unknown order",
}


def status_view(told: Status) -> RenderableType:
    """Return the status as a rich renderable, at most as wide as the terminal."""
    return Group(
        _header(told),
        *_held_back(told),
        _market(told),
        *_drift(told),
        *_retraining(told),
        *_journal(told),
        Text(),
        _account(told),
        *positions(told),
        *orders(told),
        *foreign(told),
        Text(),
        *_limits(told.get("limits") or ()),
        *_alerts(told),
    )


def lost_view(told: Status, why: str, age_s: float) -> RenderableType:
    """Return the last status that was heard, marked as old."""
    line = Text(f"{why.partition(';')[0]}; what is below is {age_s:.0f} s old", "bold red")
    return Group(line, Styled(status_view(told), "dim"))


def _header(told: Status) -> Text:
    state = str(told["state"])
    badge = (f" {str(told.get('mode', '')).upper()} ", "reverse")
    return Text.assemble(badge, " ", (str(told.get("state_words") or state), _COLOURS.get(state, _HELD)))


def _held_back(told: Status) -> Iterable[Text]:
    for cause in told.get("causes") or ():
        if cause.get("to_do"):
            yield Text.assemble(("  do: ", "bold"), str(cause["to_do"]))


def _market(told: Status) -> Text:
    now_ms, interval_ms = told.get("now_ms"), told.get("interval_ms")
    symbols = list(told.get("symbols") or ())
    named = ", ".join(symbols[:4]) + (f" and {len(symbols) - 4} more" if len(symbols) > 4 else "")
    lines = [
        f"{told.get('strategy', '')} on {named}, {told.get('interval', '')} bars from {told.get('feed')}"
    ]
    if told.get("model_hash"):
        lines[0] += f", model {str(told['model_hash'])[:8]}"
    if told.get("model_coming_hash"):
        lines[0] += f" ({str(told['model_coming_hash'])[:8]} is being warmed and takes over soon)"
    if now_ms:
        last_ms, next_ms = told.get("last_bar_ms"), told.get("next_close_ms")
        parts = [clock_words(now_ms, now_ms)]
        parts.append(f"last bar {clock_words(last_ms, now_ms)}" if last_ms else "no bar yet")
        if next_ms and interval_ms:
            parts.append(f"next close {clock_words(next_ms, now_ms)}, in {span(next_ms - now_ms)}")
        lag_ms = told.get("feed_lag_ms")
        if lag_ms is not None:
            parts.append(f"feed {lag_ms / 1000:.1f} s behind")
        lines.append("; ".join(parts))
    return Text("\n".join(lines))


def _journal(told: Status) -> Iterable[Text]:
    damaged = (told.get("journal") or {}).get("damaged") or ()
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        yield Text(f"journal damaged: {damaged[0]}{more}", "bold red")


def _drift(told: Status) -> Iterable[Text]:
    """Say how far the market and the forecasts are from the model's training; nothing without a model."""
    drift = told.get("drift")
    if drift:
        yield Text(f"model drift: {drift['words']}", "" if drift["state"] == "within" else _HELD)


def _retraining(told: Status) -> Iterable[Text]:
    """Say when the model is retrained and what became of the last time; nothing without a schedule."""
    retrain = told.get("retrain")
    if retrain:
        style = _HELD if retrain["last_verdict"] == "failed" else ""
        yield Text(f"retraining: {retraining_words(retrain, told.get('now_ms') or 0)}", style)


def _account(told: Status) -> Text:
    if told.get("equity") is None:
        return Text("equity unread: the venue's account has not been read yet", style=_HELD)
    line = Text.assemble(("equity ", "bold"), (money(told["equity"]), "bold"), " USDT")
    if told.get("day_pnl") is not None:
        result = f"{money(told['day_pnl'], signed=True)} ({percent(told.get('day_pnl_frac'), signed=True)})"
        line.append("; today ").append(result, style=_colour_of(told["day_pnl"]))
        line.append(f", {_count(told.get('trades_today', 0), 'trade')}")
    line.append(f"\nthis run: {_count(told.get('fills', 0), 'fill')}, fees {money(told.get('fees'))}")
    if told.get("funding"):
        line.append(f", funding {money(told['funding'], signed=True)}")
    return line


def positions(told: Status) -> Iterable[RenderableType]:
    """Show each position with its stops, or say that there is none."""
    rows = told.get("positions") or ()
    if not rows:
        yield Text("no position", style="dim")
        return
    now_ms = told.get("now_ms") or 0
    table = _table("position", "size", "entry", "mark", "result", "stop", "take", in_zone("since"))
    for each in rows:
        size = str(each["qty"])
        since_ms = each.get("since_ms")
        table.add_row(
            f"{each['symbol']} {'short' if size.startswith('-') else 'long'}",
            quantity(size.lstrip("-")),
            price(each.get("entry_price")),
            price(each.get("mark")),
            Text(money(each.get("unrealised"), signed=True), style=_colour_of(each.get("unrealised"))),
            _stop(each),
            "" if each.get("take_profit") is None else price(each["take_profit"]),
            clock_cell(since_ms, now_ms) if since_ms else UNKNOWN,
        )
    yield table
    for each in rows:
        if each.get("trailing_stop") is not None:
            yield Text(f"{each['symbol']}: a stop at the venue trails by {price(each['trailing_stop'])}")


def _stop(position: Status) -> Text | str:
    if position.get("stop_loss") is not None:
        return price(position["stop_loss"])
    return Text("none", style="red") if position.get("trailing_stop") is None else "trails"


def orders(told: Status) -> Iterable[RenderableType]:
    """Show the open orders, and how many have an unknown fate."""
    rows = told.get("open_orders") or ()
    if rows:
        table = _table("order", "side", "size", "filled", "price", "state", "id")
        for each in rows:
            table.add_row(
                str(each["symbol"]),
                f"{each['side']}{', exit' if each.get('reduce_only') else ''}",
                quantity(each["qty"]),
                quantity(each.get("filled_qty")),
                "market" if each.get("price") is None else price(each["price"]),
                Text(str(each["state"]), style="red" if each["state"] == "unknown" else ""),
                str(each["order_id"]),
            )
        yield table
    if told.get("unknown_orders"):
        waited = span(told.get("unknown_for_ms") or 0)
        yield Text(f"orders of unknown fate: {told['unknown_orders']}, for {waited}", style="red")


def foreign(told: Status) -> Iterable[Text]:
    """Say what on the account is not ours."""
    for each in told.get("foreign_positions") or ():
        yield Text(f"{each['symbol']} {each['qty']} is not ours: no entries there while it is held", _HELD)
    if told.get("foreign_orders"):
        yield Text(f"orders of others on this account: {told['foreign_orders']}", _HELD)


def _limits(rows: Sequence[Mapping[str, Any]]) -> Iterable[RenderableType]:
    """Show the limits of losses always, and the others once something of them is used."""
    table = _table("limit", "used", "bound", "", "beyond it")
    for each in rows:
        used, name = each.get("used"), str(each["name"])
        if each.get("bound") is None or used is None or not (used or name in _ALWAYS):
            continue
        unit, share = str(each["unit"]), each.get("used_frac")
        table.add_row(
            _LIMITS.get(name, name),
            _amount(used, unit),
            _amount(each["bound"], unit),
            _bar(share),
            str(each["words"]),
        )
    if table.row_count:
        yield table


def _amount(value: float, unit: str) -> str:
    match unit:
        case "frac":
            return percent(value)
        case "ms":
            return span(value)
        case "quote":
            return money(value)
        case "times":
            return f"{value:.2f}×"
        case _:
            return f"{value:,.0f}"


def _bar(share: float | None) -> Text:
    if share is None:
        return Text()
    full = min(_BAR, round(share * _BAR))
    style = "red" if share >= 0.9 else _HELD if share >= 0.6 else "green"
    return Text.assemble(("━" * full, style), ("─" * (_BAR - full), "dim"))


def _alerts(told: Status) -> Iterable[RenderableType]:
    now_ms = told.get("now_ms") or 0
    for each in (told.get("alerts") or ())[-_ALERTS:]:
        style = "red" if each.get("level") == "error" else _HELD
        line = Text.assemble(f"{clock_words(each['ts_ms'], now_ms)} ", (str(each["words"]), style))
        yield line.append(f"; {each['do']}" if each.get("do") else "")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    right = {"size", "filled", "entry", "mark", "result", "stop", "take", "price", "used", "bound"}
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", no_wrap=column != "beyond it"
        )
    return table


def _colour_of(value: float | None) -> str:
    return "" if not value else "green" if value > 0 else "red"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
