"""``bot completion SHELL``: the script that lets a shell complete commands, options and files."""

import os
from pathlib import Path

import click

from bot.domain.errors import BadUsage

_PLACES = {
    "bash": """\
# Once, in this shell:      eval "$(bot completion bash)"
# In every shell: put that line into ~/.bashrc, or do
#   mkdir -p ~/.local/share/bash-completion/completions
#   bot completion bash > ~/.local/share/bash-completion/completions/bot
""",
    "zsh": """\
# Once, in this shell:      eval "$(bot completion zsh)"
# In every shell: put that line into ~/.zshrc, behind `compinit`.
""",
    "fish": """\
# Once, in this shell:      bot completion fish | source
# In every shell:
#   mkdir -p ~/.config/fish/completions
#   bot completion fish > ~/.config/fish/completions/bot.fish
""",
}
_NEEDS = "# `bot` must be found by its name: activate .venv, or link .venv/bin/bot into a folder of PATH.\n"


@click.command()
@click.argument("shell", type=click.Choice(list(_PLACES)), required=False)
def completion(shell: str | None) -> None:
    """Print the completion script for bash, zsh or fish (default: your shell), and where to put it."""
    from click.shell_completion import get_completion_class

    from bot.cli import COMPLETE, root

    name = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name) if name in _PLACES else None
    if kind is None:
        raise BadUsage(f"SHELL is missing; name one of {', '.join(_PLACES)}: `bot completion bash`")
    click.echo(kind(root, {}, "bot", COMPLETE).source().rstrip() + "\n\n" + _PLACES[name] + _NEEDS, nl=False)
