"""Which ``BOT_*`` variables are settings, which are mistyped, and which are another program's.

pydantic-settings passes over a variable that it does not know, and a mistyped limit must not trade. So a
name that resembles a setting, or that has a double underscore as settings of a table have, is refused with a
did-you-mean. Any other, such as the ``BOT_TOKEN`` of a chat program, is passed over, and the user is told.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from bot.settings.state_dir import PREFIX
from bot.settings.tree import FIELDS

OPEN = "strategy.params"
"""The one table whose keys are not ours."""
_NEAR, _NEAR_TOP = 0.8, 0.7
"""A name so similar to a setting is a mistyped one; those of the top level are short and stand alone."""
_EVERYDAY = frozenset(
    {
        "name",
        "kind",
        "url",
        "path",
        "host",
        "port",
        "level",
        "format",
        "prefix",
        "network",
        "foreign",
        "policy",
    }
)
"""Keys that other programs use as well: only with their table's name do they resemble a setting."""


def variable(key: str) -> str:
    """Name a key's environment variable: ``risk.max_leverage`` → ``BOT_RISK__MAX_LEVERAGE``."""
    return PREFIX + key.upper().replace(".", "__")


def check_variables(variables: Mapping[str, str | None], where: str) -> tuple[list[str], list[str]]:
    """Return what the user should know of these variables, and what is wrong with them.

    A note: one is passed over, or is in small letters. A fault: one is mistyped, has no value, or is there
    twice.
    """
    seen: dict[str, str] = {}
    notes: list[str] = []
    faults: list[str] = []
    for name, value in variables.items():
        if not name.upper().startswith(PREFIX):
            continue
        key, origin = _key_of(name), where + name.upper()
        if value is None:
            faults.append(f"{origin}: has no value; write {name.upper()}=…")
        elif seen.setdefault(name.upper(), name) != name:
            faults.append(f"{where}{name}: {seen[name.upper()]} is set as well; keep {name.upper()} alone")
        elif not is_known(key):
            if "__" in name or _resembles(key):
                faults.append(f"{origin}: {no_such(key, variable)}")
            else:
                notes.append(
                    f"{where}{name}: no setting has this name, so it is not read; `bot config show` lists all"
                )
        elif name != name.upper():
            notes.append(f"{where}{name}: read as {name.upper()}; write variables in capitals")
    return notes, faults


def is_known(key: str) -> bool:
    """Return True for a setting, and for a parameter of a strategy."""
    return key in FIELDS or key.startswith(OPEN + ".")


def no_such(key: str, spell: Callable[[str], str]) -> str:
    """Say what was meant, spelt as the user would write it there."""
    inside = [known for known in FIELDS if known.startswith(key + ".")]
    if inside:
        return f"no such setting; it is a table with keys such as {inside[0]}"
    near = _near(key) or get_close_matches(spell(key), [spell(known) for known in FIELDS], n=1)
    meant = spell(near[0]) if near and near[0] in FIELDS else next(iter(near), "")
    return f"no such setting; {f'did you mean {meant}?' if meant else '`bot config show` lists all'}"


def _key_of(name: str) -> str:
    return ".".join(name.upper().removeprefix(PREFIX).lower().split("__", 2))


def _resembles(key: str) -> bool:
    return any(known.startswith(key + ".") for known in FIELDS) or bool(_near(key))


def _near(key: str) -> list[str]:
    """Return the setting that a name without its dots, or without its table, resembles; at most one."""
    names: dict[str, str] = {}
    for known in FIELDS:
        leaf = known.rpartition(".")[2]
        if leaf not in _EVERYDAY:
            names.setdefault(leaf, known)
    names |= {known.replace(".", "_"): known for known in FIELDS}
    top = [known for known in FIELDS if "." not in known]
    plain = key.replace(".", "_")
    near = get_close_matches(plain, names, n=1, cutoff=_NEAR) or get_close_matches(
        plain, top, n=1, cutoff=_NEAR_TOP
    )
    return [names[each] for each in near]
