"""What must hold, checked from outside: the exchange's own history, the journal as plain JSON, bytes sent.

Nothing here imports the program, so a mistake of the program cannot hide in its own check. ``always.py`` and
``lines.py`` look at every moment, ``quiet.py`` at the end, after the faults have stopped. ``WHERE`` says
where each of the 28 invariants is checked.
"""

_ALWAYS = "tests/sim/checks/always.py"
_LINES = "tests/sim/checks/lines.py"
_QUIET = "tests/sim/checks/quiet.py"

WHERE = {
    1: f"{_QUIET}:_positions",
    2: f"{_QUIET}:_money",
    3: f"{_QUIET}:_executions",
    4: f"{_ALWAYS}:_leaves",
    5: f"{_ALWAYS}:_leaves",
    6: f"{_ALWAYS}:_leaves",
    7: f"{_ALWAYS}:_exposed",
    8: f"{_QUIET}:_alive",
    9: f"{_QUIET}:_orders",
    10: f"{_QUIET}:_bars",
    11: f"{_ALWAYS}:_enters",
    12: f"{_QUIET}:_money",
    13: f"{_QUIET}:_executions",
    14: f"{_QUIET}:_orders",
    15: "tests/journal/test_lines.py",  # every cut and every flipped bit of a segment
    16: f"{_ALWAYS}:_commanded",
    17: f"{_LINES}:_deaf",
    18: f"{_LINES}:closed",
    19: f"{_QUIET}:_alive",
    20: "tests/sim/world.py:_ended",
    21: f"{_ALWAYS}:_leaves",
    22: "tests/sim/test_story.py:test_a_seed_tells_the_same_story_in_every_process",
    23: "tests/parity/test_replay.py",  # needs the model and two runs of one tape
    24: "tests/faults/test_soak.py",  # memory and descriptors of a real process
    25: "tests/faults/test_canary.py",  # everything that a process writes
    26: "tests/cli/daemon/test_run_live.py",  # a second process
    27: f"{_ALWAYS}:beat",
    28: f"{_QUIET}:check_quiet",
}
