"""``bot help log``: every alert and every other event of the log. A test holds both tables to the program."""

from collections.abc import Mapping

from bot.app.topics.page import Entry, Page, Section
from bot.domain.alerts import KINDS

ALERTS: Mapping[str, tuple[str, str]] = {
    "fill": ("info", "An order was executed: side, size, price, reason, fee, result so far."),
    "trade_closed": ("info", "A position is flat again: result after costs, time held, reason."),
    "halted": ("error", "The breaker halted the bot: which limit, its number, what to do."),
    "halt_lifted": ("info", "Nothing halts the bot any more."),
    "entries_held_back": ("warning", "No entry leaves for a while: the causes, and what to do."),
    "entries_again": ("info", "Entries may leave again."),
    "strategy_stopped": ("error", "The strategy of a symbol raised: file, line, bar. No entries there."),
    "drifted": ("warning", "A measure of the model's drift is beyond its bound, and is only to be told."),
    "drift_gone": ("info", "That measure is back within its bound."),
    "limit_refused": ("warning", "A limit refused an order; said once an hour for a symbol and a limit."),
    "limits_below_equity": (
        "warning",
        "An entry worth the whole equity would be refused: by which limits, and what to do. Once a process.",
    ),
    "order_not_sent": ("warning", "An order never left this process, and why."),
    "order_refused": ("warning", "The venue refused an entry: its code and its words."),
    "refusal_burst": ("error", "Many refusals within a short time."),
    "adl": ("error", "The venue reduced a position by auto-deleveraging."),
    "exit_refused": ("error", "The venue refused an exit: the position is still open."),
    "liquidation": ("error", "The venue liquidated a position."),
    "stop_refused": ("error", "The venue refused to set a stop."),
    "order_known": ("info", "The fate of an unknown order is known now."),
    "order_unknown": ("error", "The answer to an order was lost; nobody knows yet whether the venue has it."),
    "account_differs": ("warning", "A reading of the account differs from the bot's books, and in what."),
    "account_not_locked": ("warning", "No lock keeps a second bot away from this account."),
    "account_read": ("info", "The account is read again."),
    "account_unread": ("error", "The account cannot be read; no entry leaves."),
    "leverage_changed": ("warning", "Somebody changed the leverage of a symbol; it is set again."),
    "wallet_adjusted": ("info", "Money came or went beside trades and funding."),
    "model_not_taken": ("warning", "A promoted model cannot be used, and why; the one before goes on."),
    "model_swapped": ("info", "A promoted model has taken over between two bars."),
    "retrain_failed": ("warning", "A retraining by schedule failed, and why; the model in use goes on."),
    "retrain_refused": ("info", "A retraining by schedule promoted nothing, and why."),
    "retrained": ("info", "A retraining by schedule promoted a model, with the figure that decided."),
    "line_down": ("warning", "The feed or the line to the venue is down, since when and why."),
    "line_up": ("info", "That line is back, and after how long."),
    "symbol_stopped": ("warning", "A contract has ended; its symbol trades no more."),
    "daemon_gone": ("error", "The daemon was killed or froze; said by the process that sends messages."),
    "ended": ("info or error", "The daemon ended: asked to, or by an error."),
    "journal_damaged": ("error", "An older part of the journal was changed or is missing; trading goes on."),
    "journal_lost": ("error", "The journal cannot be written, so no order may leave."),
    "started": ("info or warning", "A process begins: strategy, venue, symbols; warning after a crash."),
    "stopping": ("info", "The daemon was asked to stop."),
    "daily_summary": ("info", "The result of a UTC day, with trades and costs."),
    "test": ("info", "The message of `bot notify test`."),
}
"""Alert → its level and what it says."""

EVENTS: Mapping[str, tuple[str, str]] = {
    "drift_unknown": ("info", "What the model's training data looked like is not known."),
    "account_begun": ("info", "A new account begins with an empty journal."),
    "account_recovered": ("info", "The state was rebuilt from the journal: inputs, positions, orders."),
    "check_venue": ("info", "Which part of `bot check venue` runs now."),
    "close": ("info", "One decided close: prices, equity, positions, fills."),
    "cluster": ("warning", "A search: what happens to the workers of its Dask cluster."),
    "command": ("info", "A command was given, by whom (terminal, page, program) and what it did."),
    "entries_taken_back": ("error", "The daemon could not go on; entries were cancelled, or are named."),
    "event_quarantined": ("info", "An event that crashed an earlier process is left out."),
    "exchange_started": ("info", "`bot exchange` is ready."),
    "feed_bad_bar": ("info", "A candle whose numbers cannot belong to one candle was dropped."),
    "feed_bad_message": ("info", "A message of the feed could not be read."),
    "feed_funding_interval": ("info", "The venue changed the time between two settlements of a symbol."),
    "feed_gap": ("info", "Bars are missing and the venue does not have them."),
    "feed_link_lost": ("info", "A connection of the feed is gone; it is made anew."),
    "glance_failed": ("warning", "The status for the page could not be worked out."),
    "guard_cleared": ("info", "`bot guard` cancelled the entries; nothing is left."),
    "guard_daemon_away": ("warning", "The daemon gives no sign of life; `bot guard` acts."),
    "guard_daemon_lives": ("info", "The daemon gives signs of life again."),
    "guard_failed": ("error", "`bot guard` could not reach the venue; it tries again."),
    "guard_stands_back": ("info", "The daemon lives, so `bot guard` cancels nothing more."),
    "guard_survivors": ("error", "Entries that `bot guard` could not cancel."),
    "guard_watching": ("info", "`bot guard` has begun to watch."),
    "halt_not_kept": ("error", "The file that marks the halt could not be written."),
    "library": ("warning or error", "A library's own warning or error."),
    "loop_late": ("warning", "The event loop was late, ms: the machine is too busy."),
    "machine_code_kept": ("info", "In which folder compiled code is kept."),
    "machine_code_not_kept": ("warning", "Compiled code cannot be kept; each start compiles again."),
    "message_failed": ("warning", "A message to an address failed; it is tried again."),
    "message_sender_ended": ("warning", "The process that sends messages ended; it is started again."),
    "message_sender_failed": ("error", "The process that sends messages could not be started."),
    "message_sender_said": ("warning", "Text that the process that sends messages printed."),
    "messages_again": ("info", "An address takes messages again."),
    "messages_dropped": ("warning", "Messages found no room and are lost; how many so far."),
    "messages_unsent": ("warning", "Messages that were not sent before the end."),
    "record_bad_message": ("info", "`bot record`: a frame could not be read; it is kept as it is."),
    "record_gap": ("info", "`bot record`: frames are missing, of how many topics and why."),
    "record_not_connected": ("info", "`bot record`: a connection could not be made."),
    "record_removed": ("warning", "`bot record`: the oldest file was removed to stay within its size."),
    "record_started": ("info", "`bot record` has begun."),
    "record_up": ("info", "`bot record`: a connection delivers its topics."),
    "record_without_rules": ("warning", "`bot record`: the contracts' rules could not be fetched."),
    "recording": ("info", "`bot record`: frames, bytes and gaps so far."),
    "replay_differs": ("info", "A replay of the journal decided otherwise; the bot starts halted."),
    "retrain_began": ("info", "A retraining by schedule begins in a process of its own."),
    "retrain_printed": ("warning", "Text that nobody expects of the process that retrains."),
    "retrain_said": ("info", "What the process that retrains does now."),
    "run_ended": ("info", "A paced replay ended."),
    "run_started": ("info", "A paced replay begins."),
    "setting": ("warning", "Something about where a setting comes from."),
    "shipped_rules_used": ("warning", "The venue's rules could not be read; those that ship are used."),
    "still_halted": ("warning", "A reminder, each hour of a halt: by what, and what to do."),
    "stop_incomplete": ("warning", "The daemon ended before everything was done; what is left."),
    "testnet_pnl": ("warning", "Profit on testnet means nothing."),
    "trading": ("info", "The warm-up is over; entries may leave."),
    "uncaught": ("error", "An error that nobody caught."),
    "uncaught_in_thread": ("error", "An error that nobody caught, in a thread."),
    "unraisable": ("error", "An error in a place that cannot raise."),
    "warm_up_targets_dropped": (
        "info",
        "Positions asked for in the warm-up: the strategy, how many. None is sent.",
    ),
    "web": ("info", "The page is served; its address with a code that works once."),
    "web_ended": ("warning", "The process of the page ended; it is started again."),
}
"""Every other event of the log → its level and what it says."""


def page() -> Page:
    """Return alerts with their kinds, then the other events of the log."""
    alerts = [
        Entry(name, words, {"level": level, "kind": KINDS[name]}) for name, (level, words) in ALERTS.items()
    ]
    events = [Entry(name, words, {"level": level}) for name, (level, words) in EVENTS.items()]
    return Page(
        "log",
        "The log goes to stderr: columns on a terminal, JSON otherwise (`--log-format`). `event` names each "
        "line. Levels: error = somebody must act, warning = somebody should know, info = what happens while "
        "all is well.",
        [
            Section(
                "Alerts",
                alerts,
                "Also on the page, in `bot status` and in messages; `notify.events` chooses by kind.",
            ),
            Section("Other events", events),
        ],
    )
