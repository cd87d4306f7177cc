"""Prints the result of a finished run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from bot.app.runs.notes import limit_fill_words, refusal_lines, risk_lines
from bot.app.wiring import RunPlan
from bot.cli.terminal.numbers import counts
from bot.cli.terminal.output import emit_table
from bot.domain.refusals import flat_words
from bot.service.backtest.run import Result

if TYPE_CHECKING:
    from bot.app.runs.stress import Stress


def print_result(plan: RunPlan, result: Result, stressed: "Stress | None" = None) -> None:
    """Print what risk did, what ran, its result beside buy and hold, and the warnings."""
    for line in risk_lines(result):
        click.echo(line)
    numbers = result.numbers()
    label, part = "unseen bars only", result.unseen
    if result.halt is not None:
        label = "until the halt" if result.in_sample is None else "unseen bars until the halt"
    elif result.in_sample is None:
        label = ""
    if result.in_sample is not None and not len(part.ts_ms):
        label, part = "in-sample bars only", result.in_sample
    metrics, hold = part.metrics, part.buy_and_hold
    click.echo(
        f"{plan.strategy_name} on {', '.join(plan.history.symbols)}: "
        + counts(numbers, "bar", "order", "fill", "trade")
    )
    rows = [
        ("total return", _percent(metrics["total_return"]), _percent(hold["total_return"])),
        ("Sharpe", _number(metrics["sharpe"]), _number(hold["sharpe"])),
        ("Sortino", _number(metrics["sortino"]), _number(hold["sortino"])),
        ("max drawdown", _percent(metrics["max_drawdown"]), _percent(hold["max_drawdown"])),
        ("exposure", _percent(metrics["exposure"]), _percent(1.0)),
    ]
    emit_table((label, "strategy", "buy and hold"), rows)
    click.echo(
        f"whole run: net {numbers['net_pnl']:,.2f}, fees {numbers['fees']:,.2f}, "
        f"slippage {numbers['slippage']:,.2f}, funding {numbers['funding']:,.2f} USDT"
    )
    if any(each.intent.order_type == "Limit" for each in result.run.tape.placed):
        click.echo(f"limit orders {limit_fill_words(plan.terms)}")
    flat = numbers["flat_bars"]
    if isinstance(flat, dict) and flat:
        _print_flat(flat)
    for line in refusal_lines(result):
        click.echo(line)
    for warning in result.warnings:
        click.echo(f"note: {warning}")
    if stressed is not None:
        _print_stress(stressed)
    speed = numbers["bars_per_cpu_s"] or 0
    click.echo(f"{numbers['cpu_s']:.2f} s CPU, {speed:,.0f} bars/s; fills {result.digest[:16]}")


def _print_stress(stressed: "Stress") -> None:
    """Print the runs under stress side by side, and what they mean."""
    rows = [
        (
            each.name,
            _percent(each.total_return),
            _number(each.sharpe),
            _percent(each.max_drawdown),
            f"{each.trades:,}" + (" (halted)" if each.halted else ""),
        )
        for each in stressed.variants
    ]
    emit_table(("stress", "total return", "Sharpe", "max drawdown", "trades"), rows)
    for line in stressed.words:
        click.echo(f"stress: {line}")


def _print_flat(flat: Mapping[str, int]) -> None:
    """Print the reasons of bars without a position, the most frequent first."""
    click.echo("bars without a position:")
    width = len(f"{max(flat.values()):,}")
    for reason, count in sorted(flat.items(), key=lambda item: -item[1]):
        words = flat_words(reason)
        click.echo(f"  {count:{width},} {reason}" + (f": {words}" if words != reason else ""))


def _percent(value: object) -> str:
    return f"{value:.2%}" if isinstance(value, float) else "–"


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "–"
