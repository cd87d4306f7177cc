"""``bot web``: the page in the browser, as a process of its own; ``bot run --web-port`` keeps one."""

from functools import reduce

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.options import web_options
from bot.cli.terminal.output import emit_json


@click.command()
@click.option("--link", is_flag=True, help="Print an address that opens the running page once, and exit.")
@click.option("--child", is_flag=True, hidden=True, help="End once standard input is closed.")
@(lambda command: reduce(lambda made, option: option(made), reversed(web_options()), command))
@pass_context
def web(
    context: Context, link: bool, child: bool, web_port: int | None, web_host: str | None, web_insecure: bool
) -> None:
    """Serve the page for the daemon on this state directory, also while that daemon is dead.

    Its first line on stdout is a JSON object with `url` (opens the page once) and `port`.
    """
    from bot.app.web import make_link, run_web

    if link:
        click.echo(make_link(context))
        return
    settings = context.settings({"web.port": web_port, "web.host": web_host})
    run_web(context, settings, emit_json, insecure=web_insecure, is_child=child)
