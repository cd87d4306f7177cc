"""``bot doctor``: machine, state, settings, model, network, clock, keys: what is wrong, and what to do.

Works without a network: a host that does not answer is a warning, unless the run that the settings describe
needs it on this machine.
"""

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.errors import BotError


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--offline", is_flag=True, help="Do not touch the network.")
@pass_context
def doctor(context: Context, as_json: bool, offline: bool) -> None:
    """Look at everything that a run needs; exit 0 unless something is wrong."""
    from bot.app.doctor import examine

    findings = examine(context, offline=offline)
    wrong = [each for each in findings if each.level == "wrong"]
    if as_json:
        listed = [{"name": f.name, "level": f.level, "text": f.text} for f in findings]
        emit_json({"ok": not wrong, "findings": listed})
    else:
        for each in findings:
            click.echo(f"{each.level:5}  {each.name:9}  {context.redactor(each.text)}")
    if wrong:
        raise _Wrong(f"{len(wrong)} wrong: {', '.join(each.name for each in wrong)}", wrong[0].code)


class _Wrong(BotError):
    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code
