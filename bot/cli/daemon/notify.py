"""``bot notify``: messages to people. The daemon sends them; ``test`` shows whether they arrive."""

import time
from dataclasses import asdict

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.errors import BotError


@click.group()
def notify() -> None:
    """Messages to people: Telegram, Discord, mail, ntfy, webhooks and all else that apprise knows."""


@notify.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def test(context: Context, as_json: bool) -> None:
    """Send one message to each address of notify.urls; exit 1 if one did not arrive."""
    from bot.app.notify import send_test

    outcomes = send_test(context.settings(), time.time_ns() // 1_000_000)
    if as_json:
        emit_json({"targets": [asdict(each) | {"ok": each.why is None} for each in outcomes]})
    else:
        for each in outcomes:
            click.echo(
                f"{each.target} {each.service}: {'ok' if each.why is None else f'not sent: {each.why}'}"
            )
    failed = sum(each.why is not None for each in outcomes)
    if failed:
        raise BotError(
            f"{failed} of {len(outcomes)} messages were not sent; check those addresses in notify.urls"
        )
