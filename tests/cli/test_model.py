"""Models by name: found wherever a directory is taken, listed with their figures, shown whole."""

import json
import shutil
from pathlib import Path

import pytest

import bot
from bot.adapters.files import shipped
from bot.adapters.model import checkpoint
from bot.app.models.listing import twin_hint
from bot.cli import main
from bot.domain.errors import BadModel
from bot.settings import load
from bot.settings.models import DEFAULT, JUDGED, SHIPPED, find_model

MINE = Path(".data/models/mine")


def copied(to: Path) -> Path:
    return Path(shutil.copytree(shipped.model_path(), to, copy_function=shutil.copyfile))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    copied(MINE)
    return tmp_path


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["model", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_name_means_the_model_of_the_user_a_path_stays_a_path(place: Path) -> None:
    state_dir = Path(".data")
    assert find_model(Path("mine"), state_dir) == MINE
    assert find_model(Path(DEFAULT), state_dir) == SHIPPED[DEFAULT]
    for path in (MINE, place / "mine", Path("nobody"), Path("../mine"), Path(".")):
        assert find_model(path, state_dir) == path


@pytest.mark.parametrize("other", ["mine", f".data/models/{DEFAULT}"])
def test_a_name_of_two_models_is_refused_with_both(other: str, place: Path) -> None:
    found = copied(Path(other))
    with pytest.raises(BadModel, match="write the whole path") as refused:
        find_model(Path(found.name), Path(".data"))
    assert other in str(refused.value)
    (found / "manifest.json").unlink()  # a folder that is no model takes no name
    assert find_model(Path("mine"), Path(".data")) == MINE


def test_settings_know_the_directory_and_the_shipped_model_stays_unset(place: Path) -> None:
    assert load(None, {"model.path": "mine"}).model.path == MINE
    assert load(None, {"model.path": "mine", "state_dir": "elsewhere"}).model.path == Path("mine")
    named = load(None, {"model.path": DEFAULT})
    assert named.model.path is None
    assert named.hash == load(None).hash


def test_a_list_has_every_model_and_says_why_one_cannot_be_used(place: Path, capsys) -> None:
    bad = copied(MINE.with_name("bad"))
    with (bad / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    MINE.with_name("empty").mkdir()
    ships, twin, *others, broken, mine = asked(capsys, "list")["models"]
    assert {each["name"] for each in others} == set(SHIPPED) - {DEFAULT, JUDGED}
    assert all(each["ships"] and each["error"] is None for each in others)
    assert (ships["name"], ships["ships"], ships["used"]) == (DEFAULT, True, True)
    assert (twin["name"], twin["ships"], twin["used"]) == (JUDGED, True, False)
    assert (ships["interval"], len(ships["symbols"]), ships["trained_to"]) == (
        "5m",
        19,
        "2026-02-27T00:00:00Z",
    )
    assert twin["trained_to"] == "2025-12-01T00:00:00Z"
    assert ships["qlike_rv_60m"] < ships["qlike_har_hour"]
    assert ships["bytes"] == sum(path.stat().st_size for path in shipped.model_path().iterdir())
    assert (mine["name"], mine["ships"], mine["used"], mine["hash"]) == ("mine", False, False, ships["hash"])
    assert (broken["name"], "damaged" in broken["error"], "hash" in broken) == ("bad", True, False)
    assert main(["model", "list"]) == 0
    assert "bad cannot be used: .data/models/bad/weights" in capsys.readouterr().out


def test_the_list_marks_the_model_that_the_settings_choose(place: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("BOT_MODEL__PATH", "mine")
    assert [row["name"] for row in asked(capsys, "list")["models"] if row["used"]] == ["mine"]
    assert asked(capsys, "show")["name"] == "mine"


def test_a_model_is_shown_by_name_and_by_directory(place: Path, capsys) -> None:
    by_name, by_path = asked(capsys, "show", "mine"), asked(capsys, "show", str(MINE))
    assert by_name == by_path
    assert by_name["features"] == 109
    assert by_name["skill"]["rows"] == 151_998
    assert asked(capsys, "show")["name"] == DEFAULT
    assert main(["model", "show", "mine"]) == 0
    shown = capsys.readouterr().out
    assert "trained to         2026-02-27T00:00:00Z; earlier bars are in-sample" in shown
    assert f"figures are of     {JUDGED}, hash " in shown


def test_the_shipped_twin_has_the_figures_that_the_default_shows(place: Path, capsys) -> None:
    default, twin = asked(capsys, "show"), asked(capsys, "show", JUDGED)
    assert default["twin"] == {
        "name": JUDGED,
        "hash": twin["hash"],
        "trained_to_ms": twin["trained_to_ms"],
        "trained_to": twin["trained_to"],
    }
    assert twin["twin"] is None
    assert default["skill"] == twin["skill"]
    assert default["files"] == twin["files"]
    assert default["validated_to_ms"] == twin["validated_to_ms"] <= default["trained_to_ms"]


def test_bars_that_the_default_has_seen_are_judged_by_its_twin(place: Path, capsys) -> None:
    words = ["data", "synth", "--days", "20", "--start", "2026-01-01", "--out", ".", "--symbol", "BTCUSDT"]
    assert main(words) == 0
    (data,) = place.glob("*_5m.parquet")
    capsys.readouterr()
    assert main(["evaluate", "--data", str(data), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    twin = bot.load_model(JUDGED)
    assert (told["model_hash"], told["is_twin"], told["in_sample"]) == (twin.hash, True, False)
    assert main(["backtest", "--data", str(data), "--strategy", "vol_target", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    assert any(f"give --model {JUDGED}" in line for line in warnings)
    assert twin_hint(checkpoint.load(SHIPPED[JUDGED]), Path(".data")) is None


def test_a_name_that_nobody_has_is_one_line_with_the_way_out(place: Path, capsys) -> None:
    assert main(["model", "show", "none"]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: none: no model directory, and no model has this name: `bot model list`")


@pytest.mark.parametrize("command", ["predict", "backtest", "evaluate", "check lookahead"])
def test_a_name_stands_wherever_a_directory_is_taken(command: str, place: Path, capsys) -> None:
    """A damaged model is refused by its directory: the name was found."""
    (MINE / "weights.safetensors").write_bytes(b"x")
    assert main(["data", "synth", "--days", "1", "--out", ".", "--symbol", "BTCUSDT"]) == 0
    (data,) = place.glob("*_5m.parquet")
    out = ["--out", "f.csv"] if command == "predict" else []
    assert main([*command.split(), "--data", str(data), "--model", "mine", *out]) == 5
    assert ".data/models/mine/weights.safetensors: content has hash" in capsys.readouterr().err


def test_a_model_directory_here_is_found_by_its_bare_name(place: Path) -> None:
    copied(Path("here"))
    assert find_model(Path("here"), Path(".data")) == Path("here")


def test_python_takes_a_name_too(place: Path) -> None:
    assert bot.load_model("mine").hash == bot.load_model().hash
    (MINE / "weights.safetensors").unlink()
    with pytest.raises(BadModel, match="mine/weights"):
        bot.evaluate("unread.parquet", "mine")


def invented(place: Path, interval: str, days: int) -> str:
    words = ["--days", str(days), "--start", "2025-12-20", "--out", ".", "--symbol", "BTCUSDT"]
    assert main(["data", "synth", "--interval", interval, *words]) == 0
    (data,) = place.glob(f"*_{interval}.parquet")
    return str(data)


@pytest.mark.parametrize(
    "command", ["predict", "backtest", "evaluate", "evaluate --holes", "check lookahead"]
)
def test_bars_of_another_length_name_the_model_that_ships_for_them(command: str, place: Path, capsys) -> None:
    data = invented(place, "1h", 3)
    capsys.readouterr()
    out = ["--out", "f.csv"] if command == "predict" else []
    assert main([*command.split(), "--data", data, *out]) == 5
    assert "give --model performer-1h, which ships for bars of 1h, or use" in capsys.readouterr().err
    data = invented(place, "30m", 3)
    assert main([*command.split(), "--data", data, *out]) == 5
    assert "train one for bars of 30m (`bot train`), or use" in capsys.readouterr().err


def test_a_run_a_doctor_and_a_retraining_name_it_too(place: Path, capsys, monkeypatch) -> None:
    data = invented(place, "1h", 3)
    assert main(["model", "retrain", "--data", data]) == 5
    assert "set model.path to performer-1h" in capsys.readouterr().err
    monkeypatch.setenv("BOT_FEED__INTERVAL", "1h")
    assert main(["run", "--strategy", "vol_target", "--feed", "local"]) == 5
    assert "the model is for 5m bars; give --model performer-1h" in capsys.readouterr().err
    monkeypatch.setenv("BOT_STRATEGY__NAME", "vol_target")
    main(["doctor"])
    assert "set model.path to performer-1h, which ships for bars of 1h" in capsys.readouterr().out
    assert load(None, {"model.path": "performer-1h"}).model.path == SHIPPED["performer-1h"]


def test_each_shipped_model_is_judged_by_its_own_twin_on_bars_that_it_has_seen(place: Path, capsys) -> None:
    data = invented(place, "1h", 66)
    words = ["--data", data, "--model", "performer-1h"]
    assert main(["evaluate", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["model_hash"], told["twin"]) == (
        bot.load_model("performer-1h-judged").hash,
        "performer-1h-judged",
    )
    assert main(["evaluate", *words]) == 0
    assert "performer-1h-judged, its twin that has not, is judged" in capsys.readouterr().out
    assert main(["backtest", *words, "--strategy", "vol_target", "--json"]) == 0
    assert "give --model performer-1h-judged" in capsys.readouterr().out
