"""Files that an earlier version wrote: this version reads them as that one meant them."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import MANIFEST, WEIGHTS
from bot.adapters.model.predictor import FORECAST_COLUMNS, KernelPredictor, TorchPredictor
from bot.adapters.state.journal import Journal
from bot.domain.errors import StoreFailed
from bot.journal.entries import encode
from bot.journal.lines import line_of, read_lines
from bot.settings import load
from tests.research import series

GOLDEN = Path(__file__).with_name("golden")
SLOT = np.zeros(1, np.int64)


@pytest.mark.fault(66)
@pytest.mark.parametrize("form", [KernelPredictor, TorchPredictor])
def test_a_model_of_format_1_forecasts_as_it_did(form: type[KernelPredictor] | type[TorchPredictor]) -> None:
    told = json.loads((GOLDEN / "model-1.json").read_text())
    predictor = form(checkpoint.load(GOLDEN / "model-1"), 1)
    forecasts = [predictor.step(np.array([row]), SLOT)[0] for row in told["rows"]]
    last = [[each[name] for name in FORECAST_COLUMNS] for each in forecasts[-4:] if each]
    # float32 sums in another order on another machine; the two forms differ by 2e-6
    np.testing.assert_allclose(last, told["last"], rtol=2e-5)


@pytest.mark.fault(66)
def test_the_settings_of_0_1_mean_what_they_meant() -> None:
    settings = load(GOLDEN / "settings-0.1.toml", {}, environ={}, dotenv=Path("no such file"))
    assert list(changed(json.loads((GOLDEN / "settings-0.1.json").read_text()), settings)) == []


def changed(told: Mapping[str, object], now: object, at: str = "") -> list[str]:
    """Settings that are not as they were told; newer settings may stand beside them."""
    found = []
    is_dump = hasattr(now, "model_dump")
    values = now.model_dump(mode="json") if is_dump else now  # type: ignore[attr-defined]
    for name, value in told.items():
        inner = values.get(name, "gone")
        if isinstance(value, Mapping) and isinstance(inner, Mapping) and name != "params":
            found += changed(value, inner, f"{at}{name}.")
        elif inner != value:
            found.append(f"{at}{name}: was {value}, is {inner}")
    return found


@pytest.mark.fault(66)
def test_the_entries_of_a_journal_of_format_1_mean_what_they_meant() -> None:
    data = (GOLDEN / "journal-1.jsonl").read_bytes()
    told = [json.loads(line[line.index(b"{") :]) for line in data.splitlines()]
    read = [each.entry for each in read_lines(data, 0, 1)]
    kinds = Counter(type(entry).__name__ for entry in read)
    assert {"Header", "BarsClosed", "Answer", "Effects", "Marked", "Quarantined", "Closed"} <= kinds.keys()
    for before, entry in zip(told, read, strict=True):
        now = msgspec.json.decode(encode(entry))
        assert [each for each in lost(before, now, before["type"]) if each not in LATER] == []


LATER: tuple[str, ...] = ()
"""What a later version reads otherwise, with the reason beside it."""


def lost(before: object, now: object, at: str) -> Iterator[str]:
    """Values that are not as they were written; newer fields may stand beside them."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            yield from lost(value, now.get(name, "gone"), f"{at}.{name}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, two) in enumerate(zip(before, now, strict=True)):
            yield from lost(one, two, f"{at}[{number}]")
    elif before != now:
        yield f"{at}: was {before}, is {now}"


@pytest.mark.fault(66)
@pytest.mark.parametrize("change", [b'"format":2', b'"format":0'])
def test_a_journal_of_another_format_is_refused_and_left_as_it_is(change: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "paper-1"
    folder.mkdir()
    header = (GOLDEN / "journal-1.jsonl").read_bytes().splitlines()[0]
    body = header[header.index(b"{") :].replace(b'"format":1', change)
    (folder / "000001.jsonl").write_bytes(line_of(body, 1, 0)[0])
    before = (folder / "000001.jsonl").read_bytes()
    with pytest.raises(StoreFailed, match=r"000001\.jsonl.*format"):
        Journal(folder).last()
    assert (folder / "000001.jsonl").read_bytes() == before


@pytest.mark.fault(79)
def test_a_model_whose_files_are_swapped_goes_on_as_the_one_that_was_loaded(tmp_path: Path) -> None:
    place = series.saved_model(tmp_path)
    other = series.saved_model(tmp_path / "other", seed=1)
    given = series.rows(series.candles(720))
    rows = given.features[given.warm]
    loaded, undisturbed = checkpoint.load(place), checkpoint.load(series.saved_model(tmp_path / "same"))
    predictor, reference = KernelPredictor(loaded, 1), KernelPredictor(undisturbed, 1)
    name = loaded.hash

    def write_over() -> None:
        for file in (WEIGHTS, MANIFEST):
            content = (other / file).read_bytes()
            with (place / file).open("r+b") as stream:  # in place, as a careless copy does
                stream.write(content)
                stream.truncate()

    def cut() -> None:
        os.truncate(place / WEIGHTS, 100)

    def remove() -> None:
        (place / WEIGHTS).unlink()

    steps = {12: write_over, 24: cut, 36: remove}
    for number, row in enumerate(rows):
        if number in steps:
            steps[number]()
        assert predictor.step(np.array([row]), SLOT) == reference.step(np.array([row]), SLOT)
        assert loaded.hash == name
    first = np.array(rows[:1])
    again, swapped = KernelPredictor(loaded, 1), KernelPredictor(checkpoint.load(other), 1)
    assert again.step(first, SLOT) == KernelPredictor(undisturbed, 1).step(first, SLOT)
    assert again.step(first, SLOT) != swapped.step(first, SLOT)  # the other model would have shown
