"""``bot status`` of a bot that is stopped or dead, for people: what it left, as of when."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from bot.cli.terminal.numbers import money
from bot.cli.views.status import Status, foreign, orders, positions
from bot.service.moments import second_words


def left_view(told: Status) -> RenderableType:
    """Return the account that was written to last, then those of other venues."""
    accounts = [told, *told["others"]] if told.get("account") else []
    return Group(*(line for each in accounts for line in _account(each)))


def _account(told: Status) -> Iterable[RenderableType]:
    as_of_ms = told.get("as_of_ms")
    ended = f"ended: {told['ended']}" if told.get("ended") else "how it ended is not known"
    badge = (f" {str(told['mode']).upper()} ", "reverse")
    when = f"; as of {second_words(as_of_ms)}" if as_of_ms else ""
    yield Text.assemble(badge, f" account {told['account']}, {ended}{when}")
    if told.get("risk_state") == "halted":
        yield Text(f"halted: {told.get('halt_reason')}; no entries until `bot unhalt`", "bold red")
    if told["unknown"] is not None:
        words = "positions and orders are UNKNOWN; look at the account yourself. Why: "
        yield Text(words + str(told["unknown"]), "bold red")
        return
    yield Text(f"equity {money(told['equity'])} USDT")
    yield from positions({"now_ms": as_of_ms, **told})
    yield from orders(told) if told["open_orders"] else (Text("no open order", "dim"),)
    yield from foreign(told)
    yield Text(str(told["note"]), "yellow")
