"""Clock times for people: UTC, said to be, and written in one place."""

import re
from pathlib import Path

import bot
from bot.domain.market import DAY_MS
from bot.service.moments import clock_cell, clock_words, in_zone, minute_words, second_words

AT = 1_735_735_469_000  # 2025-01-01 12:44:29 UTC
ELSEWHERE = {
    "adapters/files/candles.py": "ISO 8601 with Z",
    "adapters/recordings/files.py": "the name of a file",
    "adapters/state/backup.py": "the name of a file, ISO 8601 with Z",
    "logs/logger.py": "below a key that ends in _utc",
    "service/moments.py": "the rule itself",
    "web/charts.py": "the axis of a chart",
}


def test_a_time_names_its_zone_and_of_another_day_its_date() -> None:
    assert clock_words(AT, AT) == "12:44:29 UTC"
    assert clock_words(AT, AT + DAY_MS) == "2025-01-01 12:44:29 UTC"
    assert (minute_words(AT), second_words(AT)) == ("2025-01-01 12:44 UTC", "2025-01-01 12:44:29 UTC")


def test_below_a_header_with_the_zone_a_cell_has_none() -> None:
    assert in_zone("since") == "since (UTC)"
    assert (clock_cell(AT, AT), clock_cell(AT, AT + DAY_MS)) == ("12:44", "2025-01-01 12:44")


def test_no_other_module_writes_a_clock_time() -> None:
    root = Path(str(bot.__file__)).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"%H:?%M", path.read_text(encoding="utf-8"))
    }
    assert found == set(ELSEWHERE)


def test_the_page_reads_no_hour_in_the_zone_of_the_reader() -> None:
    scripts = Path(str(bot.__file__)).parent / "web/page/js"
    local = re.compile(r"\.(getHours|getDate|getMonth|getFullYear|toDateString|toLocaleTimeString)\(")
    told = {
        (path.name, line.strip())
        for path in scripts.glob("*.js")
        for line in path.read_text(encoding="utf-8").split("\n")
        if local.search(line) and "by your clock" not in line
    }
    assert told == set()
