#!/usr/bin/env python3
"""Measure what a second worker brings to `bot sweep`, next to two programs that know nothing of each other.

    python scripts/bench/search.py [--days 180] [--trials 64] [--repeat 3] [--cluster tcp://HOST:PORT]

The same search runs with one worker, with two, and as two halves at the same time, each in a program of its
own with one worker: what two cores can give at all, on a machine that others use, too. Each is measured as a
user sees it, from the start of the program to its end; they take turns, and the least of all repeats counts.
Prints one JSON object. Exits with 1 if the results differ.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bot(place: Path, *words: str) -> "subprocess.Popen[bytes]":
    environ = {**os.environ, "BOT_STATE_DIR": str(place), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "bot", *words], env=environ, stdout=subprocess.PIPE)


def measure(searches: list[list[str]]) -> tuple[float, float, list[dict[str, object]]]:
    """Return wall time and CPU time of searches that run at the same time, and what they printed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    before, began = usage.ru_utime + usage.ru_stime, time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        programs = [bot(Path(place) / str(at), *words) for at, words in enumerate(searches)]
        told = [json.loads(each.communicate()[0]) for each in programs]
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime - before, told


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=180, help="of 15-minute bars")
    parser.add_argument("--trials", type=int, default=64, help="an even number")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cluster", help="measure an existing Dask cluster, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        made = ["data", "synth", "--out", place, "--interval", "15m", "--days", str(args.days), "--seed", "4"]
        if bot(Path(place), *made, "--price", "60000").wait() != 0:
            return 1
        (data,) = Path(place).glob("*_15m.parquet")
        common = ["sweep", "--data", str(data), "--strategy", "ema_cross", "--param", "slow=120", "--json"]
        half = args.trials // 2

        def search(first: int, last: int, *words: str) -> list[str]:
            return [*common, "--grid", f"fast={first}..{last}", *words]

        whole = (2, 1 + args.trials)
        kinds = {
            "one": [search(*whole, "--workers", "1")],
            "two": [search(*whole, "--workers", "2")],
            "two_programs": [
                search(2, 1 + half, "--workers", "1"),
                search(2 + half, whole[1], "--workers", "1"),
            ],
        }
        if args.cluster:
            kinds["cluster"] = [search(*whole, "--cluster", args.cluster)]
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        hashes: dict[str, set[object]] = {kind: set() for kind in kinds}
        for _ in range(args.repeat):
            for kind, searches in kinds.items():
                wall_s, cpu_s, told = measure(searches)
                found[kind].append((wall_s, cpu_s))
                hashes[kind] |= {each["results_sha256"] for each in told}
    wall = {kind: min(each[0] for each in runs) for kind, runs in found.items()}
    ratios = {kind: wall["one"] / took for kind, took in wall.items() if kind != "one"}
    same = all(hashes[kind] == hashes["one"] for kind in kinds if kind != "two_programs")
    print(
        json.dumps(
            {
                "trials": args.trials,
                "wall_s": wall,
                "cpu_s": {kind: min(each[1] for each in runs) for kind, runs in found.items()},
                "times_as_fast_as_one": ratios,
                "of_two_programs": {kind: each / ratios["two_programs"] for kind, each in ratios.items()},
                "each_round": [
                    {kind: runs[at][0] for kind, runs in found.items()} for at in range(args.repeat)
                ],
                "same_results": same,
                "cores": os.cpu_count(),
                "load_average": os.getloadavg()[0],
                "python": platform.python_version(),
            },
            indent=2,
        )
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
