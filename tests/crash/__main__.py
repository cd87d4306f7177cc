"""``python -m tests.crash``: kill the daemon at failpoints, in phases of an order, and print a table.

``--all`` runs every failpoint in every phase; ``ENDING PHASE`` runs one case (``all`` for either: every one).
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.cases import ENDINGS, PHASES, Case, Wrong, run, stage


def main(arguments: list[str]) -> int:
    """Run cases; return 1 if one is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("ending", nargs="?", choices=[*ENDINGS, "all"])
    parser.add_argument("phase", nargs="?", choices=[*PHASES, "all"], default="all")
    parser.add_argument("--all", action="store_true")
    chosen = parser.parse_args(arguments)
    if not chosen.all and chosen.ending is None:
        parser.error("give --all, or an ending")
    endings = [each for each in ENDINGS if chosen.all or chosen.ending in (each, "all")]
    phases = [each for each in PHASES if chosen.all or chosen.phase in (each, "all")]
    failed = {}
    print("| | " + " | ".join(phases) + " |\n|" + "---|" * (len(phases) + 1))
    for ending in endings:
        said = []
        for phase in phases:
            case = Case(ending, phase)
            error = _one(case)
            said.append("ok" if error is None else "WRONG")
            if error is not None:
                failed[case] = error
                print(f"{case}: {error}", file=sys.stderr, flush=True)
        print(f"| {ending} | " + " | ".join(said) + " |", flush=True)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = children.ru_utime + children.ru_stime
    took_s, number = time.monotonic() - _BEGAN, len(endings) * len(phases)
    print(f"\n{number} cases, {len(failed)} wrong; {cpu_s:.0f} s of CPU, {took_s:.0f} s")
    return int(bool(failed))


def _one(case: Case) -> str | None:
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as at:
        place = Path(folder) / "bot"
        place.mkdir()
        try:
            run(case, at, place)
        except (Wrong, AssertionError) as error:
            return str(error) or "an assertion failed"
    return None


_BEGAN = time.monotonic()
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
