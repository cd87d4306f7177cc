"""``python -m tests.faults``: print the fault map. ``--json`` prints the counts and what is open alone.

Exit code 1 if a marker names what does not exist, or an entry has lost its last test.
"""

import json
import sys

from tests.faults.table import counts, lines, problems, rows


def main(arguments: list[str]) -> int:
    """Print the map; return the exit code."""
    told = rows()
    if arguments == ["--json"]:
        missing = {f"{row.entry.kind} {row.entry.id}": row.entry.open for row in told if row.state == "–"}
        print(json.dumps({**counts(told), "open": missing}, ensure_ascii=False))
    elif arguments:
        print("usage: python -m tests.faults [--json]", file=sys.stderr)
        return 2
    else:
        print("\n".join(lines(told)))
    wrong = list(problems())
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


sys.exit(main(sys.argv[1:]))
