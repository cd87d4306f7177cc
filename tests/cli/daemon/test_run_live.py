"""What keeps ``bot run`` from starting: one clear line and the right code, before any order."""

import asyncio
import json
import os
import random
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.files.candles import read_candles
from bot.adapters.net.signed_rest import Credentials, signed_rest
from bot.adapters.state.clock import WallClock
from bot.bybit import orders
from bot.cli import main
from bot.service.moments import minute_words
from tests.cli.exchanges import exchange


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with exchange(speed=1.0, symbols=2) as address:
        yield address


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = ["run", "--strategy", "flat", "--interval", "1m", "--duration", "20s"]


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--feed", "local", "--venue", "demo"], 2, "--feed local goes with --venue paper or local"),
        (["--feed", "testnet", "--venue", "local"], 2, "--feed testnet goes with --venue paper or testnet"),
        (["--feed", "mainnet", "--venue", "testnet"], 3, "testnet needs a key; set BOT_VENUE__API_KEY"),
        (["--feed", "local", "--strategy", "flatt"], 2, "did you mean 'flat'?"),
        (["--feed", "local", "--param", "x=1"], 2, "Flat has no parameter x"),
        (["--feed", "local", "--strategy", "performer"], 5, "the model is for 5m bars"),
        (["--feed", "local", "--interval", "7m"], 3, "feed.interval"),
        (["--feed", "local", "--retrain", "12h"], 2, "strategy flat uses no model; leave the schedule out"),
        (["--feed", "local", "--retrain", "nightly"], 3, "such as daily@03:00, weekly@sun 03:00"),
        (["--feed", "replay", "--retrain", "12h"], 2, "--retrain: belongs to a live feed"),
        (["--feed", "local", "--symbol", "btc usdt"], 3, "feed.symbols"),
        (["--feed", "local", "--exchange", "http://10.0.0.1:80"], 3, "local.url"),
        (
            ["--feed", "local", "--exchange", "http://127.0.0.1:9"],
            4,
            "start `bot exchange`, or set local.url",
        ),
        (["--feed", "local", "--speed", "2"], 2, "--speed: belongs to --feed replay"),
        (["--feed", "replay"], 2, "--feed replay needs --data FILE"),
        (["--feed", "replay", "--bars", "3"], 2, "--bars: belongs to a live feed"),
        (["--feed", "local", "--duration", "soon"], 2, "'soon' is no span of time"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    words: list[str], code: int, said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*RUN, *words] if "replay" not in words else ["run", *words]
    assert main(given) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_a_feed_that_cannot_give_quotes_cannot_fill_at_them(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOT_FEED__QUOTES", "none")
    assert main([*RUN, "--feed", "local"]) == 3
    assert "set that, or venue.fills = bars" in capsys.readouterr().err


def test_a_symbol_the_exchange_does_not_trade(
    url: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--feed", "local", "--exchange", url, "--symbol", "NOSUCHUSDT", "--symbol", "eth/usdc"]
    assert main(["--log-format", "json", *RUN, *words]) == 3
    said = capsys.readouterr().err.splitlines()[-1]
    assert "perpetual ETHUSDC (did you mean ETHUSDT?), NOSUCHUSDT" in said


def test_one_symbol_that_is_no_symbol_ends_no_other_download(
    url: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOT_FETCH__BASE_URL", url)
    words = [part for name in ("btc/usdt", "NOPEUSDT", "ETHUSD") for part in ("--symbol", name)]
    command = ["data", "fetch", *words, "--interval", "1m", "--no-funding", "--start", _an_hour_ago()]
    assert main([*command, "--json"]) == 4
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert [Path(file["file"]).name for file in told["files"]] == ["bybit_linear_BTCUSDT_1m.parquet"]
    assert told["errors"] == {
        "NOPEUSDT": "NOPEUSDT: no such symbol",
        "ETHUSD": "ETHUSD: no such symbol; did you mean ETHUSDT?",
    }
    assert shown.err.splitlines()[-1] == "error: " + "; ".join(told["errors"].values())


def test_a_download_begins_at_the_listing_and_says_when_that_was(
    url: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOT_FETCH__BASE_URL", url)
    with urllib.request.urlopen(f"{url}/v5/market/instruments-info?category=linear&symbol=BTCUSDT") as answer:
        listed_ms = int(json.load(answer)["result"]["list"][0]["launchTime"])
    told = [f"{symbol} begins at its listing, {minute_words(listed_ms)}" for symbol in ("BTCUSDT", "ETHUSDT")]
    command = ["data", "fetch", "--no-funding", "--symbol", "BTCUSDT", "--symbol", "ETHUSDT"]
    for wider in (["--interval", "12h"], ["--interval", "1d", "--start", "2020-01-01"]):
        assert main([*command, *wider]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "; ".join(told)
    files = [*Path(".data/candles").glob("*")]
    assert [read_candles(path).first_ms for path in files] == [listed_ms] * 4


def test_a_download_that_begins_after_the_listing_or_ends_before_it(
    url: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOT_FETCH__BASE_URL", url)
    command = ["data", "fetch", "--interval", "1m", "--symbol", "BTCUSDT", "--no-funding"]
    assert main([*command, "--start", _an_hour_ago(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    assert main([*command, "--end", "2020-01-01"]) == 4
    assert "give a later --end" in capsys.readouterr().err


def _an_hour_ago() -> str:
    return str(int(time.time() * 1000) - 3_600_000)


@pytest.mark.parametrize(
    ("key", "secret", "said"), [("other-key", "test-secret", "10003"), ("test-key", "wrong-secret", "10004")]
)
def test_bad_keys_end_with_4_and_are_not_repeated(
    key: str,
    secret: str,
    said: str,
    url: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BOT_VENUE__API_KEY", key)
    monkeypatch.setenv("BOT_VENUE__API_SECRET", secret)
    words = ["--feed", "local", "--venue", "local", "--exchange", url, "--symbol", "BTCUSDT"]
    began = time.monotonic()
    assert main(["--log-format", "json", *RUN, *words]) == 4
    err = capsys.readouterr().err
    assert said in err.splitlines()[-1]
    assert secret not in err
    assert time.monotonic() - began < 10


def test_a_journal_that_is_damaged_is_refused(
    url: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / ".data/journal/paper-1").mkdir(parents=True)
    (place / ".data/journal/paper-1/000001.jsonl").write_text("nonsense\n")
    assert main([*RUN, "--feed", "local", "--exchange", url, "--symbol", "BTCUSDT"]) == 1
    assert "000001.jsonl: line 1 (byte 0)" in capsys.readouterr().err


def test_a_state_directory_that_cannot_be_made_is_named(
    url: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").write_text("")
    monkeypatch.setenv("BOT_STATE_DIR", str(place / "file" / "state"))
    assert main([*RUN, "--feed", "local", "--exchange", url]) == 1
    assert "set state_dir" in capsys.readouterr().err


def test_a_run_of_a_second_says_what_it_did(
    url: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--feed", "local", "--exchange", url, "--symbol", "BTCUSDT", "--duration", "1s", "--json"]
    assert main(["--log-format", "json", *RUN, *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ended"] == "duration"
    assert told["pid"] == os.getpid()
    assert told["fills_sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.fault(37)
def test_an_account_in_hedge_mode_is_refused(
    url: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def switch(hedge: bool) -> None:
        keys = Credentials("test-key", "test-secret")
        async with signed_rest(url, keys, WallClock(), random.Random(1)) as rest:
            await rest.measure()
            assert (await rest.send_once(orders.switch_mode("ETHUSDT", hedge=hedge), "setup")).kind == "ok"

    asyncio.run(switch(True))
    words = ["--feed", "local", "--venue", "local", "--exchange", url, "--symbol", "ETHUSDT"]
    assert main(["--log-format", "json", *RUN, *words]) == 4
    assert "ETHUSDT is in hedge mode" in capsys.readouterr().err.splitlines()[-1]
