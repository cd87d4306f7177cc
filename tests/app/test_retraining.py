"""A model fitted again on newer bars: promoted only if it is better, refused with the reason, never lost."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.model import checkpoint
from bot.adapters.model.lineage import Attempt, Lineage
from bot.app.models.listing import find_twin
from bot.app.models.retraining import RetrainJob
from bot.app.models.training import feature_set_of
from bot.cli import main
from bot.domain.errors import BadModel, BadUsage, NotPromoted, StoreFailed, TooFewBars
from bot.domain.market import DAY_MS, HOUR_MS
from bot.features.definition import Definition, own_set
from bot.features.spec import NEWEST, build, default
from bot.settings import Settings, load
from bot.settings.definition import read_definition
from bot.settings.models import DEFAULT, JUDGED, SHIPPED
from tests.research import series

BARS, CHANGE = 5960, 3360
TRAINED_TO = "2025-01-30"
TINY = [
    "--epochs", "1", "--lanes", "2", "--window", "64", "--d-model", "8", "--layers", "1", "--features", "8",
    "--half-lives", "8,32", "--lr", "0.003",
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("candles")
    return [str(series.saved_candles(place, series.changing(BARS, CHANGE)))]


@pytest.fixture(scope="module")
def trained(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the market before it changed."""
    out = tmp_path_factory.mktemp("models") / "mine"
    words = ["train", "--data", *files, "--out", str(out), *TINY, "--valid-until", "2025-02-03"]
    assert main([*words, "--cut", TRAINED_TO, "--stop-days", "4"]) == 0
    return out


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, ".data/models/mine")
    monkeypatch.setenv("BOT_MODEL__PATH", "mine")
    monkeypatch.setenv("BOT_RETRAIN__WINDOW_DAYS", "40")
    monkeypatch.setenv("BOT_RETRAIN__JUDGE_DAYS", "10")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    capsys.readouterr()
    assert main(["model", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def settings_of(state_dir: Path, trained: Path, **more: object) -> Settings:
    chosen = {"state_dir": state_dir, "model.path": trained, "retrain.judge_days": 10}
    return load(None, {**chosen, **{f"retrain.{key}": value for key, value in more.items()}}, environ={})


def test_in_a_market_that_has_changed_the_candidate_is_promoted_and_forecasts_recover(
    files: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm = told(capsys, "show", "mine")["skill"]["qlike"]["model"]["value"]  # before the market changed
    done = told(capsys, "retrain", "--data", *files)
    stale, fresh = (done["qlike"][name]["value"] for name in ("incumbent", "candidate"))
    assert stale > 10 * calm > 5 * fresh
    assert done["qlike_minus"]["incumbent"]["high"] < 0.0
    assert {"har_hour", "har_rolling"} <= done["qlike"].keys()

    listed = told(capsys, "list")
    assert [row["name"] for row in listed["models"] if row["current"]] == [done["name"]]
    assert listed["retrained"]["current"] == done["hash"]
    assert listed["retrained"]["attempts"][-1]["verdict"] == "promoted"
    shown = told(capsys, "show", done["name"])
    assert "current: better than " in shown["promoted"]
    assert shown["twin"]["trained_to_ms"] == done["from_ms"] < shown["trained_to_ms"] == done["to_ms"]

    assert main(["model", "retrain", "--data", *files]) == 5  # the bars hold no day that is new to it
    assert "too few days to judge" in capsys.readouterr().err

    back = told(capsys, "rollback")
    assert back["before"] == done["hash"]
    assert back["current"] == checkpoint.load(".data/models/mine").hash
    assert main(["model", "rollback"]) == 2
    assert "none to roll back" in capsys.readouterr().err
    capsys.readouterr()
    assert main(["model", "retrain", "--data", *files]) == 1  # the same bars and seed give the same bits
    assert f"candidate {done['hash'][:12]} was rolled back before" in capsys.readouterr().err
    assert told(capsys, "list")["retrained"]["current"] == back["current"]


@pytest.mark.parametrize("kind", ["newest", "first", "own", "older"])
def test_a_model_is_fitted_again_on_the_features_that_it_reads(kind: str, tmp_path: Path) -> None:
    own = own_set(Definition(drop=("week_*",), add={"gap": "close / open - 1"}, base=NEWEST), 900_000)
    older = replace(own_set(Definition(drop=("week_*",)), 900_000), definition={"drop": ["week_*"]})
    sets = {"newest": default(900_000), "first": build("default-v1", 900_000), "own": own, "older": older}
    features = sets[kind]
    place = untrained(tmp_path, features)
    job = RetrainJob(settings_of(tmp_path, place), [tmp_path / "none.parquet"])
    again = feature_set_of(read_definition(job._definition()), 900_000)
    assert (again.hash, again.name) == (features.hash, features.name)
    assert again.skips == features.skips


def test_a_damaged_model_in_use_is_replaced_by_the_next_better_one(trained: Path, tmp_path: Path) -> None:
    base, lineage = checkpoint.load(trained), Lineage(tmp_path / "models")
    for seed in (1, 2):
        newer = checkpoint.load(series.saved_model(tmp_path / str(seed), seed=seed))
        now = lineage.current(base)[0].hash
        attempt = Attempt(ts_ms=seed, verdict="promoted", reason="", incumbent=now)
        place = lineage.promote(base, newer, tmp_path / str(seed) / "model", attempt, keep=5)
        if seed == 1:
            (place / "weights.safetensors").write_bytes(b"no weights")
    assert lineage.current(base)[0].hash == newer.hash


# Candidates from elsewhere


def candidate(place: Path, kind: str, trained: Path) -> Path:
    """Return a model that must not be promoted."""
    if kind == "untrained":
        return series.saved_model(place)
    model = checkpoint.load(trained)
    out = place / kind
    weights = {name: np.array(value) for name, value in model.weights.items()}
    manifest = model.manifest
    match kind:
        case "leaky":
            until = {"trained_to_ms": series.T0 + 50 * DAY_MS, "trained_to": "2025-02-20T00:00:00Z"}
            return series.saved_model(place, **until)
        case "no_numbers":
            weights["embed.weight"][:] = 1e38
        case "checksum":
            pass
        case "other_bars" | "other_features":
            hourly = default(2 * series.INTERVAL_MS)
            features = hourly if kind == "other_bars" else own_set(Definition(drop=("funding*",)), 900_000)
            return untrained(place, features)
    checkpoint.save(out, manifest, weights)
    if kind == "checksum":
        with (out / "weights.safetensors").open("ab") as file:
            file.write(b"x")
    return out


def untrained(place: Path, features: object) -> Path:
    from bot.adapters.model.checkpoint import Features
    from bot.features.scale import Scale
    from bot.research.record import weights

    model = series.untrained(features)
    width = len(features.names)
    scale = Scale.fit(np.random.default_rng(0).normal(size=(50, width)))
    named = Features(features.name, features.interval_ms, features.hash, features.definition)
    warm = {"features": named, "warmup_bars": features.warmup + 100, "interval_ms": features.interval_ms}
    checkpoint.save(place / "model", series.manifest(model, scale, features, **warm), weights(model))
    return place / "model"


@pytest.mark.parametrize(
    ("kind", "code", "why"),
    [
        ("untrained", 1, "is worse: QLIKE minus that of the model in use is"),
        ("leaky", 1, "is leaky: it was trained on bars to 2025-02-20T00:00:00Z, and the days to judge begin"),
        ("no_numbers", 5, "is broken: it gives no number on"),
        ("checksum", 5, "the model is damaged or mixed with another"),
        ("other_bars", 5, "is for 30m bars, the model in use for 15m"),
        ("other_features", 5, "reads other features (own) than the model in use"),
        ("mine", 1, "is the model in use: nothing has changed"),
    ],
)
def test_a_candidate_that_must_not_be_used_is_refused_in_one_line(
    kind: str,
    code: int,
    why: str,
    files: list[str],
    trained: Path,
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = trained if kind == "mine" else candidate(place, kind, trained)
    words = ["retrain", "--data", *files, "--until", "2025-02-04", "--candidate", str(given)]
    assert main(["model", *words]) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert why in line
    kept = told(capsys, "list")["retrained"]
    assert (kept["attempts"][-1]["verdict"], kept["kept"]) == ("refused", [])
    assert why in kept["attempts"][-1]["reason"]
    assert sorted(path.name for path in Path(".data/models").iterdir() if path.is_dir()) == ["mine"]


def test_a_planted_leak_sets_the_alarm_off(files: list[str], trained: Path, tmp_path: Path) -> None:
    """Forecasts that know the next hour's return: no honest model of unseen days has such figures."""
    from bot.adapters.files.candles import read_candles
    from bot.research.dataset import label_rows
    from bot.research.skill.succession import Judge

    model = checkpoint.load(trained)
    rows = label_rows(read_candles(files[0]), model.feature_set)
    to_ms = int(rows.close_ms[-1])
    judge = Judge(files=[rows], from_ms=to_ms - 10 * DAY_MS, to_ms=to_ms)
    found = judge.compare(
        lambda one: np.nan_to_num(one.targets, nan=1e-5), lambda one: np.abs(one.targets[:, [0, 0, 0]]) * 2,
        0, lambda one: np.ones(len(one.close)),
    )  # fmt: skip
    assert found.refusal is not None
    assert found.refusal[0] == "leaky"


# What a kill leaves


def writes(event: str, args: tuple[object, ...]) -> bool:
    if event == "open":
        return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
    return event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")


def killed_at(passage: int, act: object) -> int:
    """Do ``act`` in a process that is killed right before its nth write; return how it ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    left = passage

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if writes(event, args):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        act()  # type: ignore[operator]
        os._exit(0)
    except BaseException:
        os._exit(1)


def kills(act: object) -> Iterator[int]:
    for passage in range(1, 200):
        code = killed_at(passage, act)
        yield code
        if code == 0:
            return
    raise AssertionError("it never came to its end")


def test_a_kill_at_any_write_loses_nothing_and_the_current_model_always_loads(
    trained: Path, tmp_path: Path
) -> None:
    base, lineage = checkpoint.load(trained), Lineage(tmp_path / "models")
    others = [checkpoint.load(series.saved_model(tmp_path / str(seed), seed=seed)) for seed in (1, 2)]

    def attempt(incumbent: str) -> Attempt:
        return Attempt(ts_ms=1, verdict="promoted", reason="", incumbent=incumbent)

    def retrain() -> None:
        """Promote the first model, then the second in its place; or the second alone if it is there."""
        with lineage.locked():
            for other in others:
                now, _ = lineage.current(base)
                if other.hash in {each.hash for each in lineage.line(base.hash).promoted}:
                    continue
                at = lineage.work / "candidate"
                checkpoint.save(at, other.manifest, other.weights)
                lineage.promote(base, other, at, attempt(now.hash), keep=2)
                lineage.sweep(())

    seen, ends = [], []
    for code in kills(retrain):
        current, trouble = lineage.current(base)
        assert trouble == ""
        seen.append(current.hash)
        ends.append(code)
        assert lineage.line(base.hash).current == current.hash
    assert ends[:-1] == [-signal.SIGKILL] * (len(ends) - 1)
    assert len(ends) > 15
    order = [base.hash, *(other.hash for other in others)]
    assert seen == sorted(seen, key=order.index)
    assert set(seen) == set(order)
    assert not lineage.work.exists()


def test_a_kill_while_a_candidate_is_being_made_leaves_the_model_in_use(
    files: list[str], trained: Path, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, trained)
    job = RetrainJob(
        settings, [Path(file) for file in files], candidate=series.saved_model(tmp_path / "other")
    )
    for passage in (1, 3, 5, 7):
        assert killed_at(passage, job.run) == -signal.SIGKILL
        assert job.lineage.current(job.base)[0].hash == job.base.hash
    with pytest.raises(NotPromoted):
        job.run()
    assert not job.lineage.work.exists()


def test_the_last_models_are_kept_and_a_damaged_one_is_passed_over(trained: Path, tmp_path: Path) -> None:
    base, lineage = checkpoint.load(trained), Lineage(tmp_path / "models")
    made = []
    for seed in range(4):
        model = checkpoint.load(series.saved_model(tmp_path / str(seed), seed=seed))
        now = lineage.current(base)[0].hash
        attempt = Attempt(ts_ms=seed, verdict="promoted", reason="", incumbent=now)
        made.append(lineage.promote(base, model, tmp_path / str(seed) / "model", attempt, keep=2))
    in_use = checkpoint.load(made[0]).hash
    assert lineage.sweep([in_use]) == [made[1].name]
    assert [path.exists() for path in made] == [True, False, True, True]
    (made[3] / "weights.safetensors").write_bytes(b"no weights")
    current, trouble = lineage.current(base)
    assert current.hash == checkpoint.load(made[2]).hash
    assert made[3].name in trouble
    (lineage.folder / "retrained.json").write_text("{}")
    with pytest.raises(StoreFailed, match="restore it from a backup"):
        lineage.current(base)


def test_a_rollback_gives_up_the_model_that_is_current_by_then(trained: Path, tmp_path: Path) -> None:
    base, lineage = checkpoint.load(trained), Lineage(tmp_path / "models")
    first, second = (checkpoint.load(series.saved_model(tmp_path / str(n), seed=n)) for n in range(2))
    for n, (model, now) in enumerate([(first, base), (second, first)]):
        attempt = Attempt(ts_ms=n, verdict="promoted", reason="", incumbent=now.hash)
        lineage.promote(base, model, tmp_path / str(n) / "model", attempt, keep=2)
    assert lineage.roll_back(base.hash, 2, "why") == (second.hash, first.hash)
    assert lineage.roll_back(base.hash, 3, "why") == (first.hash, base.hash)
    given_up = [each.candidate for each in lineage.line(base.hash).attempts if each.verdict == "rolled back"]
    assert given_up == [second.hash, first.hash]
    with pytest.raises(BadUsage, match=r"none to roll back$"):
        lineage.roll_back(base.hash, 4, "why")
    again = checkpoint.load(series.saved_model(tmp_path / "2", seed=2))
    attempt = Attempt(ts_ms=5, verdict="promoted", reason="", incumbent=base.hash)
    lineage.promote(base, again, tmp_path / "2/model", attempt, keep=2)
    with pytest.raises(BadUsage, match=f"there are some of {base.hash[:12]}: name it in model.path"):
        lineage.roll_back(first.hash, 5, "why")  # a daemon runs with another --model


def test_a_refitted_candidate_is_judged_by_its_twin_under_whatever_name_that_lies(
    trained: Path, tmp_path: Path
) -> None:
    state, refitted = tmp_path / "state", SHIPPED[DEFAULT]
    model, twin = checkpoint.load(refitted), checkpoint.load(SHIPPED[JUDGED])
    assert find_twin(model, tmp_path / "elsewhere", state).hash == twin.hash  # it ships under its own name
    assert find_twin(checkpoint.load(trained), trained, state) is None


def test_symbols_that_a_candidate_is_not_judged_on_are_named(
    files: list[str], trained: Path, tmp_path: Path
) -> None:
    chosen = {"state_dir": tmp_path, "model.path": trained, "retrain.judge_days": 10}
    for symbols, expected in (("BTCUSDT,ETHUSDT", None), ("ETHUSDT", BadUsage)):
        settings = load(None, {**chosen, "feed.symbols": symbols}, environ={})
        early = series.T0 + 33 * DAY_MS + HOUR_MS
        job, said = RetrainJob(settings, [Path(file) for file in files], until_ms=early), []
        with pytest.raises(expected or TooFewBars):
            job.run(say=said.append)
        assert any("no bars of ETHUSDT" in line for line in said) == (expected is None)


def test_days_that_the_model_in_use_has_seen_judge_nothing(
    files: list[str], trained: Path, tmp_path: Path
) -> None:
    early = series.T0 + 33 * DAY_MS + HOUR_MS  # three days after its training
    job = RetrainJob(settings_of(tmp_path, trained), [Path(file) for file in files], until_ms=early)
    with pytest.raises(TooFewBars, match="too few days to judge"):
        job.run()
    hourly = series.saved_candles(tmp_path, series.candles(50, interval_ms=HOUR_MS), "1h")
    with pytest.raises(BadModel, match="bars of 1h"):
        RetrainJob(settings_of(tmp_path, trained), [hourly]).run()
