"""``python -m tests.sim``: play one seed, many seeds, or look for planted bugs."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from tests.sim.bugs import BUGS, planted
from tests.sim.shrink import shrink
from tests.sim.story import draw, with_failing_write
from tests.sim.world import Outcome, only_stories_are_collected, play

FOUND_WITHIN = 50
"""Seeds in which each planted bug must be found."""


def main(argv: Sequence[str] | None = None) -> int:
    """Play what the command line asks for; return 1 if something did not hold."""
    args = _parser().parse_args(argv)
    with only_stories_are_collected():
        return _play(args)


def _play(args: argparse.Namespace) -> int:
    if args.writes:
        return _break_writes(args)
    if args.bugs:
        return _hunt(sorted(BUGS), args)
    if args.bug is not None and args.seed is None:
        return _hunt([args.bug], args)
    outcomes = []
    for seed in [args.seed] if args.seed is not None else _span(args.seeds or "1..20"):
        with planted(args.bug) if args.bug else nullcontext():
            outcome = play(draw(seed, args.hours))
            outcomes.append(outcome)
            if not args.json:
                _tell(outcome)
            if outcome.violations:
                _tell_violations(outcome, args)
    print(json.dumps(summary(outcomes)))
    return 1 if any(each.violations for each in outcomes) else 0


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return the one JSON object of a run."""
    faults: Counter[str] = Counter()
    for each in outcomes:
        faults.update(each.faults)
    cpu_s = sum(each.cpu_s for each in outcomes)
    simulated_s = sum(each.simulated_s for each in outcomes)
    return {
        "digest": outcomes[0].digest if len(outcomes) == 1 else [each.digest[:16] for each in outcomes],
        "violations": sum(len(each.violations) for each in outcomes),
        "seeds_with_violations": [each.seed for each in outcomes if each.violations],
        "faults": dict(sorted(faults.items())),
        "simulated_h": round(simulated_s / 3600.0, 2),
        "cpu_s": round(cpu_s, 1),
        "sim_s_per_cpu_s": round(simulated_s / cpu_s, 1),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="play this seed")
    parser.add_argument("--seeds", help="play these seeds, first and last: 1..50")
    parser.add_argument("--hours", type=float, default=0.5, help="simulated hours of faults a seed")
    parser.add_argument(
        "--bug", choices=sorted(BUGS), help="plant this bug; without --seed: until a seed finds it"
    )
    parser.add_argument("--bugs", action="store_true", help="look for every planted bug and print a table")
    parser.add_argument(
        "--writes",
        action="store_true",
        help="play --seed without faults, and break each write to the exchange",
    )
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON object")
    parser.add_argument(
        "--shrink", type=int, default=40, help="most runs to find the faults that matter; 0: none"
    )
    return parser


def _span(text: str) -> Iterator[int]:
    first, _, last = text.partition("..")
    yield from range(int(first), int(last or first) + 1)


def _tell(outcome: Outcome) -> None:
    speed = outcome.simulated_s / outcome.cpu_s
    print(f"seed {outcome.seed}  {outcome.digest[:16]}  {speed:.0f} s/s  {outcome.facts}")


def _tell_violations(outcome: Outcome, args: argparse.Namespace) -> None:
    """Say what did not hold, how to see it again, and the shortest story that still shows it."""
    out = sys.stderr
    for each in outcome.violations[:20]:
        print(f"seed {outcome.seed}: {each}", file=out)
    bug = f" --bug {args.bug}" if args.bug else ""
    print(f"again: python -m tests.sim --seed {outcome.seed} --hours {args.hours:g}{bug}", file=out)
    if args.shrink:
        story = shrink(draw(outcome.seed, args.hours), outcome, most=args.shrink)
        print(f"the story without what does not matter ({len(story.happenings)} happenings):", file=out)
        for happening in story.happenings:
            print(f"  {happening}", file=out)


def _hunt(names: Sequence[str], args: argparse.Namespace) -> int:
    """Look for planted bugs, each until a seed finds it; print a line a bug."""
    missed = 0
    for name in names:
        for seed in _span(args.seeds or f"1..{FOUND_WITHIN}"):
            with planted(name):
                outcome = play(draw(seed, args.hours), most=1)
            if outcome.violations:
                print(f"{name:32} seed {seed:3}  {outcome.violations[0]}", flush=True)
                break
        else:
            missed += 1
            print(f"{name:32} NOT FOUND", flush=True)
    return 1 if missed else 0


def _break_writes(args: argparse.Namespace) -> int:
    """Break the connection in each write, once with its bytes lost and once with them delivered."""
    calm = draw(args.seed if args.seed is not None else 1, args.hours).with_happenings(())
    writes = int(str(play(calm).facts["writes"]))
    bad = 0
    for nth in range(1, writes + 1):
        for arrives in (False, True):
            outcome = play(with_failing_write(calm, nth, arrives=arrives), most=3)
            bad += bool(outcome.violations)
            for each in outcome.violations:
                print(f"write {nth}, arrives {arrives}: {each}", file=sys.stderr)
    print(json.dumps({"writes": writes, "broken_runs": 2 * writes, "with_violations": bad}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
