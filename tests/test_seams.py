"""Time, chance and identity enter at the named seams only, so that a simulation can give its own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import bot

HOME = Path(bot.__file__).parent
ALLOWED = {
    "adapters/state/clock.py": {"time.time_ns", "time.monotonic"},  # the machine's time
    "app/machine.py": {"os.getpid"},  # the machine's names
    "adapters/state/directory.py": {"os.getpid"},  # the lock says who holds it
    "adapters/files/whole.py": {"os.getpid"},  # a temporary file's name
    "adapters/model/checkpoint.py": {"os.getpid"},
    "adapters/state/alive.py": {"os.getpid"},  # the sign of life says whose it is
    "web/server/access.py": {"secrets.token_urlsafe"},  # the page's token, which nobody may guess
    "logs/line_queue.py": {"time.monotonic"},  # a thread of its own, outside the event loop
    "logs/rotated_file.py": {"time.monotonic"},  # written by that thread
    "service/notify/courier.py": {"time.monotonic"},  # a thread of the process that sends messages
    "service/notify/sender.py": {"time.sleep", "time.time_ns", "time.monotonic"},  # that process
    "cli/daemon/control.py": {"time.sleep", "time.monotonic"},  # ``bot status --watch`` on a terminal
    "cli/daemon/notify.py": {"time.time_ns"},  # a command of a person
    "app/state/backup.py": {"time.time_ns"},
    "adapters/state/backup.py": {"time.strftime", "time.gmtime"},  # a time that was given, as a file's name
    "app/venue/guard.py": {"time.monotonic", "time.sleep"},  # a process of its own that only watches
    "app/venue_check/run.py": {"time.time_ns"},  # a command of a person, names its record by the time
    "app/venue_check/streams.py": {"random.Random()"},
    "service/backtest/run.py": {"time.process_time"},  # CPU time, which is reported and decides nothing
    "app/runs/replay.py": {"time.process_time"},
    "app/venue/account.py": {
        "random.Random()"
    },  # commands that ask once: how they space a repeat matters to nobody
    "research/train.py": {"time.perf_counter"},  # how long a training took
    "app/search/processes/cluster.py": {
        "time.sleep",
        "time.monotonic",
        "time.monotonic_ns",
    },  # other machines
    "app/search/cost.py": {"time.process_time"},  # what a trial costs, which is reported and decides nothing
    "lab/progress.py": {"time.monotonic"},  # when a line on a terminal changes
    "app/doctor.py": {"time.time", "random.Random()"},
}
TIMES = {"time.sleep", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
CHANCE = {"uuid.uuid1", "uuid.uuid4", "os.urandom", "os.getpid", "os.getppid"}


def reads(tree: ast.AST) -> Iterator[str]:
    """Yield each name in ``tree`` that reads the machine's time, chance or identity."""
    imported = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="time" | "secrets" as module), attr=name) if (
                module in imported
            ):
                yield f"{module}.{name}"
            case ast.ImportFrom(module="time" | "secrets" | "random" | "uuid" as module, names=names):
                yield from (f"{module}.{each.name}" for each in names if each.name not in ("Random", "UUID"))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr="Random"), args=[]):
                yield "random.Random()"
            case ast.Call(func=ast.Name(id="Random"), args=[]):
                yield "random.Random()"
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
                yield f"random.{name}"
            case ast.Attribute(value=ast.Name(id=module), attr=name) if f"{module}.{name}" in TIMES | CHANCE:
                yield f"{module}.{name}"
            case _:
                pass


def test_time_chance_and_identity_are_read_at_the_seams_only() -> None:
    found = {}
    for path in sorted(HOME.rglob("*.py")):
        name = path.relative_to(HOME).as_posix()
        seen = set(reads(ast.parse(path.read_text(encoding="utf-8")))) - ALLOWED.get(name, set())
        if seen:
            found[name] = seen
    assert not found, "take a bot.app.machine.Machine, a clock or a seeded Random instead"


def test_every_seam_that_is_named_is_one() -> None:
    for name, allowed in ALLOWED.items():
        seen = set(reads(ast.parse((HOME / name).read_text(encoding="utf-8"))))
        assert allowed <= seen, name


def test_the_rule_sees_each_way_to_read_the_machine() -> None:
    ways = {
        "import time\ntime.time()": {"time.time"},
        "from time import monotonic\nmonotonic()": {"time.monotonic"},
        "import uuid\nuuid.uuid4()": {"uuid.uuid4"},
        "import random\nrandom.random()": {"random.random"},
        "import random\nrandom.Random()": {"random.Random()"},
        "import os\nos.urandom(4)": {"os.urandom"},
        "import time\ndef f(now=time.monotonic): ...": {"time.monotonic"},
        "from datetime import datetime\ndatetime.now()": {"datetime.now"},
        "import random\nrandom.Random(1).random()": set(),
    }
    for text, expected in ways.items():
        assert set(reads(ast.parse(text))) == expected, text
