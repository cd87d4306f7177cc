import os
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.app.wiring import make_drift_bounds
from bot.domain.addresses import Address
from bot.domain.alerts import Alert, Level
from bot.domain.errors import BadSettings
from bot.exchange.terms import Terms
from bot.logs import MIN_SECRET_CHARS
from bot.model.drift import DriftBounds
from bot.risk.limits import Limits
from bot.settings import FIELDS, SECRETS, Settings, load, to_toml, variable
from bot.settings.state_dir import find_state_dir

CONFIG = Path(__file__).resolve().parent.parent / "config"
CANARY = "canary/secret+0123456789"


def write(folder: Path, text: str, name: str = "bot.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(config: Path | None = None, overrides: dict[str, object] | None = None, **environ: str) -> Settings:
    return load(config, overrides, environ=environ, dotenv=Path("no such file"))


def test_the_documented_file_is_the_code() -> None:
    assert (CONFIG / "default.toml").read_text() == to_toml()


def test_the_documented_file_changes_nothing() -> None:
    assert read(CONFIG / "default.toml").hash == read().hash


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_file_loads(path: Path) -> None:
    read(path)


@pytest.mark.parametrize("key", FIELDS)
def test_every_setting_says_what_it_is(key: str) -> None:
    assert FIELDS[key].description
    assert f"\n{key.rpartition('.')[2]} = " in to_toml() or f"\n# {key.rpartition('.')[2]} =" in to_toml()


def test_the_risk_table_is_the_risk_managers() -> None:
    assert Limits(**read().risk.model_dump()) == Limits()


def test_the_bounds_of_drift_are_the_engines() -> None:
    assert make_drift_bounds(read()) == DriftBounds()


def test_the_costs_are_the_exchanges() -> None:
    costs, account, terms = read().costs, read().account, Terms()
    assert costs.taker_bps / 10_000 == terms.taker_fee_frac
    assert costs.maker_bps / 10_000 == terms.maker_fee_frac
    assert (costs.impact_frac, costs.liquidity) == (terms.impact_frac, terms.liquidity)
    assert (costs.participation_frac, costs.latency_ms) == (terms.participation_frac, terms.latency_ms)
    assert (costs.limit_fills, costs.queue_ahead_ms) == (terms.limit_fills, terms.queue_ahead_ms)
    assert (account.margin_mode, account.leverage) == (terms.margin_mode, terms.leverage)


def test_symbols_are_understood_as_people_write_them(tmp_path: Path) -> None:
    file = write(tmp_path, "[feed]\nsymbols = ['BTC/USDT:USDT', 'ethusdt', 'ETH-USDT']")
    assert read(file).feed.symbols == ("BTCUSDT", "ETHUSDT")
    assert read(file).hash == read(BOT_FEED__SYMBOLS="BTCUSDT, eth/usdt").hash
    assert read(BOT_FEED__SYMBOLS="币安人生usdt").feed.symbols == ("币安人生USDT",)


@pytest.mark.parametrize("symbols", ["a b", ""])
def test_a_wrong_symbol_is_one_fault_and_not_also_a_short_list(symbols: str) -> None:
    with pytest.raises(BadSettings) as caught:
        read(BOT_FEED__SYMBOLS=symbols)
    assert str(caught.value).count("BOT_FEED__SYMBOLS: ") == 1
    assert "must be a symbol" in str(caught.value)


def test_the_nearer_layer_wins_and_each_value_knows_its_origin(tmp_path: Path) -> None:
    config = write(
        tmp_path, "seed = 1\n[account]\nequity_quote = 1\n[risk]\nmax_leverage = 1\nmax_drawdown_frac = 0.1"
    )
    dotenv = write(
        tmp_path, "BOT_ACCOUNT__EQUITY_QUOTE=2\nBOT_RISK__MAX_LEVERAGE=2\nBOT_SEED=2\nOTHER=1", ".env"
    )
    environ = {"BOT_RISK__MAX_LEVERAGE": "3", "BOT_SEED": "3", "PATH": "/bin"}
    settings = load(config, {"seed": 4}, environ=environ, dotenv=dotenv)
    assert (settings.seed, settings.risk.max_leverage) == (4, Decimal(3))
    assert (settings.account.equity_quote, settings.risk.max_drawdown_frac) == (Decimal(2), Decimal("0.1"))
    origins = {key: origin for key, _, origin in settings.effective()}
    assert origins["seed"] == "command line"
    assert origins["risk.max_leverage"] == "BOT_RISK__MAX_LEVERAGE"
    assert origins["account.equity_quote"] == f"{dotenv}:BOT_ACCOUNT__EQUITY_QUOTE"
    assert origins["risk.max_drawdown_frac"] == f"{config}:risk.max_drawdown_frac"
    assert origins["venue.kind"] == "default"


def test_lists_and_parameters_can_come_from_the_environment(tmp_path: Path) -> None:
    config = write(tmp_path, "[strategy]\nname = 'ema_cross'\nparams = {fast = 5, on = true, size = 0.5}")
    settings = read(config, BOT_FEED__SYMBOLS="BTCUSDT, ETHUSDT", BOT_STRATEGY__PARAMS__SLOW="21")
    assert settings.feed.symbols == ("BTCUSDT", "ETHUSDT")
    assert settings.strategy.params == {"fast": "5", "on": "true", "size": "0.5", "slow": "21"}
    assert read(BOT_FEED__SYMBOLS='["SOLUSDT"]').feed.symbols == ("SOLUSDT",)


@pytest.mark.fault(92)
@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_a_one_letter_typo_in_a_key_names_the_key(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(key) - 1))
    assume(key[place] != ".")
    typo = key[:place] + data.draw(st.sampled_from("qxz")) + key[place + 1 :]
    assume(typo not in FIELDS and not typo.startswith("strategy.params"))
    name = variable(typo)
    with pytest.raises(BadSettings, match="no such setting; did you mean") as caught:
        read(**{name: "1"})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert caught.value.exit_code == 3
    # The key itself, or, where one letter makes two keys look alike, its neighbour.
    meant = message.removesuffix("?").rpartition(" ")[2]
    assert meant in {variable(k) for k in FIELDS}


@pytest.mark.fault(93)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[risk]\nmax_levrage = 1", ("bot.toml:risk.max_levrage", "did you mean risk.max_leverage?")),
        ("[rsik]\nmax_leverage = 1", ("bot.toml:rsik.max_leverage", "did you mean risk.max_leverage?")),
        ("sed = 1", ("bot.toml:sed", "did you mean seed?")),
        ("risk = 3", ("bot.toml:risk", "table with keys such as risk.")),
        ("[seed]\nx = 1", ("bot.toml:seed", "valid integer")),
        (
            "[risk]\nmax_leverage = 1000",
            ("bot.toml:risk.max_leverage", "less than or equal to 100", "1000"),
        ),
        ("[risk]\nmax_leverage = -1", ("bot.toml:risk.max_leverage", "-1")),
        ("[risk]\nmax_leverage = nan", ("bot.toml:risk.max_leverage", "finite")),
        ("[risk]\nmax_leverage = inf", ("bot.toml:risk.max_leverage", "finite")),
        ("[risk]\nmax_leverage = true", ("bot.toml:risk.max_leverage", "must not be true")),
        ("seed = true", ("bot.toml:seed", "must not be true")),
        ("seed = 1.5", ("bot.toml:seed", "1.5")),
        ("[risk]\non_halt = 'sell'", ("bot.toml:risk.on_halt", "'hold' or 'flatten'", "sell")),
        ("[feed]\ninterval = '7m'", ("bot.toml:feed.interval", "one of 1m", "7m")),
        ("[feed]\nsymbols = ['btc usdt']", ("bot.toml:feed.symbols", "such as BTCUSDT", "btc usdt")),
        ("[feed]\nsymbols = []", ("bot.toml:feed.symbols", "at least 1")),
        ("[fetch]\nbase_url = 'http://evil.example'", ("bot.toml:fetch.base_url", "https to a Bybit host")),
        ("[costs]\nparticipation_frac = 50", ("bot.toml:costs.participation_frac", "volume")),
        ("seed =", ("bot.toml", "not valid TOML")),
        ("seed = 1\nseed = 2", ("bot.toml", "not valid TOML")),
        ("[venue]\nkind = 'mainnet'", ("bot.toml:venue.kind", "paper")),
    ],
)
def test_a_wrong_file_is_one_line_with_place_and_remedy(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(BadSettings) as caught:
        read(write(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_wrong_value_of_the_command_line_names_its_key() -> None:
    with pytest.raises(BadSettings, match=r"^command line:costs\.taker_bps: .*-5"):
        load(None, {"costs.taker_bps": -5.0}, environ={}, dotenv=Path(os.devnull))


def test_a_file_that_is_not_there_or_not_text_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read"):
        read(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSettings, match="not valid TOML"):
        read(tmp_path / "bytes.toml")


def test_a_variable_without_value_in_dotenv_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="BOT_SEED: has no value"):
        load(None, environ={}, dotenv=write(tmp_path, "BOT_SEED\n", ".env"))


@pytest.mark.parametrize(
    ("environ", "file"), [({"BOT_STATE_DIR": ""}, ""), ({}, "state_dir = ' '"), ({"BOT_LOG__FILE": ""}, "")]
)
def test_an_empty_path_is_not_the_working_directory(
    environ: dict[str, str], file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "bot.toml"
    config.write_text(file)
    if "BOT_LOG__FILE" not in environ:
        assert find_state_dir(config) is None  # only ``load`` can tell, and it refuses
    with pytest.raises(BadSettings, match="must be a path, was empty"):
        load(config)


def test_settings_cannot_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().risk.max_leverage = Decimal(100)  # type: ignore[misc]


def test_the_hash_names_the_values_not_how_they_were_written_nor_the_secrets(tmp_path: Path) -> None:
    assert read(BOT_COSTS__TAKER_BPS="5.50").hash == read().hash
    assert read(BOT_COSTS__TAKER_BPS="5.51").hash != read().hash
    assert read(BOT_VENUE__API_KEY=CANARY).hash == read().hash


def test_the_same_settings_in_another_place_have_the_same_hash() -> None:
    files = [key for key, field in FIELDS.items() if "Path" in str(field.annotation)]
    assert {"state_dir", "data_dir", "log.file", "model.path", "venue.api_key_file"} < set(files)
    read_at_once = {"venue.api_key_file", "notify.urls_file"}
    moved = {variable(key): "/elsewhere" for key in files if key not in read_at_once}
    urls = {"BOT_LOCAL__URL": "http://127.0.0.1:8080", "BOT_FETCH__BASE_URL": "http://127.0.0.1:8081"}
    assert read(**moved, **urls).hash == read().hash
    assert read(BOT_WEB__PORT="8080").hash != read().hash


def test_a_secret_from_the_environment_is_known_and_never_shown() -> None:
    settings = read(BOT_VENUE__API_KEY=CANARY, BOT_VENUE__API_SECRET=CANARY[::-1])
    assert settings.venue.api_key is not None
    assert settings.venue.api_key.get_secret_value() == CANARY
    assert settings.secrets() == [CANARY, CANARY[::-1]]
    for shown in (repr(settings), str(settings), str(settings.effective()), settings.model_dump_json()):
        assert CANARY not in shown
        assert CANARY[::-1] not in shown


@pytest.mark.parametrize("key", sorted(SECRETS))
def test_a_secret_in_a_settings_file_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    table, _, name = key.partition(".")
    with pytest.raises(BadSettings, match="never belongs in a settings file") as caught:
        read(write(tmp_path, f"[{table}]\n{name} = {CANARY!r}"))
    assert CANARY not in str(caught.value)


def test_a_secret_too_short_to_hide_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadSettings, match="8 to 256 characters") as caught:
        read(BOT_VENUE__API_KEY="shorty")
    assert "shorty" not in str(caught.value)


KEY_FILE = f'api_key = "{CANARY}"\napi_secret = "{CANARY[::-1]}"\n'


def test_a_key_file_only_its_owner_reads_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path, KEY_FILE, "keys.toml")
    path.chmod(0o600)
    settings = read(BOT_VENUE__API_KEY_FILE=str(path))
    assert settings.secrets() == [CANARY, CANARY[::-1]]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, KEY_FILE, "keys.toml")
    path.chmod(mode)
    with pytest.raises(BadSettings, match=f"chmod 600 {path}"):
        read(BOT_VENUE__API_KEY_FILE=str(path))


def test_a_dotenv_with_a_secret_must_be_private_too(tmp_path: Path) -> None:
    dotenv = write(tmp_path, f"BOT_VENUE__API_KEY={CANARY}\n", ".env")
    dotenv.chmod(0o644)
    with pytest.raises(BadSettings, match="chmod 600"):
        load(None, environ={}, dotenv=dotenv)
    dotenv.chmod(0o600)
    assert load(None, environ={}, dotenv=dotenv).secrets() == [CANARY]


@pytest.mark.parametrize("text", [f'key = "{CANARY}"', f'api_key = "{CANARY}', f'api_key = "{CANARY}"'])
def test_a_key_file_in_another_form_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text, "keys.toml")
    path.chmod(0o600)
    with pytest.raises(BadSettings, match="expected two lines") as caught:
        read(BOT_VENUE__API_KEY_FILE=str(path))
    assert CANARY not in str(caught.value)


def test_keys_from_two_places_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, KEY_FILE, "keys.toml")
    path.chmod(0o600)
    with pytest.raises(BadSettings, match="not from both"):
        read(BOT_VENUE__API_KEY_FILE=str(path), BOT_VENUE__API_KEY=CANARY)
    with pytest.raises(BadSettings, match="cannot be read"):
        read(BOT_VENUE__API_KEY_FILE=str(tmp_path / "none"))


def test_the_commented_file_is_valid_toml_without_secrets() -> None:
    table = tomllib.loads(to_toml())
    assert table["risk"]["max_leverage"] == 3
    assert "api_secret" not in table["venue"]


def test_the_local_exchange_needs_no_keys_typed_and_given_ones_stay() -> None:
    local = {"venue.kind": "local"}
    settings = load(None, local, environ={}, dotenv=Path("/nowhere"))
    assert settings.secrets() == ["test-key", "test-secret"]
    own = {"BOT_VENUE__API_KEY": "my-own-key", "BOT_VENUE__API_SECRET": "my-own-secret"}
    assert load(None, local, environ=own, dotenv=Path("/nowhere")).secrets() == list(own.values())
    assert load(None, {"venue.kind": "demo"}, environ={}, dotenv=Path("/nowhere")).secrets() == []


def test_a_parameters_name_may_hold_two_underscores() -> None:
    assert read(BOT_STRATEGY__PARAMS__A__B="1").strategy.params == {"a__b": "1"}


def test_an_empty_table_says_nothing_and_one_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert read(write(tmp_path, "[risk]\n[strategy.params]")).hash == read().hash
    with pytest.raises(BadSettings, match=r"bot\.toml:rsik: no such setting"):
        read(write(tmp_path, "[rsik]"))


def test_a_variables_name_has_no_case_and_others_are_not_ours() -> None:
    assert read(bot_seed="7", BOTANY="x", ROBOT_SEED="8").seed == 7
    with pytest.raises(BadSettings, match="BOT_SED: no such setting; did you mean BOT_SEED"):
        read(bot_sed="7")


@pytest.mark.parametrize(
    "name",
    ["BOT_TOKEN", "bot_token", "BOT_NAME", "BOT_PORT", "BOT_API_TOKEN", "BOT_USERNAME", "BOT_WEBHOOK_URL"],
)
def test_a_variable_of_another_program_is_passed_over_and_told(name: str, tmp_path: Path) -> None:
    settings = read(**{name: "x"})
    assert settings.hash == read().hash
    (note,) = settings.notes()
    assert note.startswith(f"{name}: no setting has this name, so it is not read")
    (inside,) = load(environ={}, dotenv=write(tmp_path, f"{name}=x\n", ".env")).notes()
    assert inside == f"{tmp_path / '.env'}:{note}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BOT_TOKEN__X", ""),
        ("BOT_STATEDIR", "BOT_STATE_DIR"),
        ("BOT_SEEED", "BOT_SEED"),
        ("BOT_MAX_LEVERAGE", "BOT_RISK__MAX_LEVERAGE"),
        ("BOT_RISK_MAX_LEVERAGE", "BOT_RISK__MAX_LEVERAGE"),
        ("BOT_RISK_MAX_LEVRAGE", "BOT_RISK__MAX_LEVERAGE"),
        ("BOT_API_KEY", "BOT_VENUE__API_KEY"),
        ("BOT_SYMBOL", "BOT_FEED__SYMBOLS"),
        ("BOT_INTERVAL", "BOT_FEED__INTERVAL"),
        ("BOT_LOG_LEVEL", "BOT_LOG__LEVEL"),
        ("BOT_RISK", "risk.max_order_notional_quote"),
    ],
)
def test_a_variable_that_resembles_a_setting_is_refused(name: str, meant: str) -> None:
    with pytest.raises(BadSettings, match=f"^{name}: no such setting.*{meant}"):
        read(**{name: "1"})


def test_a_variable_in_small_letters_is_read_and_told_and_two_spellings_are_refused() -> None:
    settings = read(bot_seed="7")
    assert (settings.seed, settings.notes()) == (
        7,
        ("bot_seed: read as BOT_SEED; write variables in capitals",),
    )
    assert read(BOT_SEED="7").notes() == ()
    with pytest.raises(BadSettings, match="bot_seed: BOT_SEED is set as well"):
        read(BOT_SEED="7", bot_seed="8")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_a_byte_order_mark_is_no_error(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bot.toml").write_text("state_dir = 'here'\nseed = 7\n", encoding=encoding)
    Path(".env").write_text("BOT_FEED__INTERVAL=1m\nBOT_LOG__LEVEL=error\n", encoding=encoding)
    settings = load(Path("bot.toml"), environ={})
    assert (settings.seed, settings.feed.interval, settings.log.level) == (7, "1m", "error")
    assert settings.notes() == ()
    assert find_state_dir(Path("bot.toml")) == Path("here")
    keys = Path("keys.toml")
    keys.write_text('api_key = "a-long-key"\napi_secret = "a-long-secret"\n', encoding=encoding)
    keys.chmod(0o600)
    assert load(None, {"venue.api_key_file": keys}, environ={}).secrets() == ["a-long-key", "a-long-secret"]


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_SEED", "7")
    assert Settings().seed == 0
    assert load().seed == 7


# Addresses of messages

TELEGRAM = "tgram://123456789:abcdefghijk_lmnop/-100200300"


def test_addresses_come_from_the_environment_and_are_never_shown() -> None:
    settings = read(BOT_NOTIFY__URLS=f"{TELEGRAM} error=json://user:passw0rd!@host.example/hook/a,b")
    addresses = settings.notify.addresses()
    assert [(each.schema, each.level) for each in addresses] == [("tgram", None), ("json", "error")]
    shown = "".join((repr(settings), str(settings), str(settings.effective()), settings.model_dump_json()))
    for secret in ("abcdefghijk_lmnop", "passw0rd!", "100200300", "hook"):
        assert secret not in shown
    hidden = settings.secrets()
    assert {"123456789:abcdefghijk_lmnop", "abcdefghijk_lmnop", "passw0rd!", TELEGRAM} <= set(hidden)
    assert "host.example" not in hidden
    assert min(map(len, hidden)) >= MIN_SECRET_CHARS
    assert read(BOT_NOTIFY__URLS=TELEGRAM).hash == read().hash


def test_addresses_come_from_a_file_only_its_owner_reads(tmp_path: Path) -> None:
    path = write(tmp_path, f"# my phone\n\n{TELEGRAM}\n  error=ntfy://topic-of-mine\n", "urls")
    path.chmod(0o600)
    config = write(tmp_path, f"[notify]\nurls_file = '{path}'")
    assert [each.schema for each in read(config).notify.addresses()] == ["tgram", "ntfy"]
    with pytest.raises(BadSettings, match="not from both"):
        read(config, BOT_NOTIFY__URLS=TELEGRAM)
    path.chmod(0o644)
    with pytest.raises(BadSettings, match=f"chmod 600 {path}"):
        read(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("canary-secret-without-schema", "is no address"),
        ("errors=tgram://canary-secret", "may begin with levels"),
        (f"{TELEGRAM} canary-secret", "is no address"),
        ("json://" + "canary-secret" * 200, "8 to 2000 characters"),
    ],
)
def test_a_wrong_address_is_refused_and_not_repeated(text: str, words: str) -> None:
    with pytest.raises(BadSettings, match=words) as caught:
        read(BOT_NOTIFY__URLS=text)
    assert str(caught.value).startswith("BOT_NOTIFY__URLS: ")
    assert "canary" not in str(caught.value)


def test_what_an_address_gets_goes_by_level_and_kind() -> None:
    def alert(level: Level, name: str) -> Alert:
        return Alert(ts_ms=0, level=level, name=name, words="")

    plain, loud, trades = (
        Address.of(f"{wants}json://host.example") for wants in ("", "error=", "fill,trade=")
    )
    fill, halt = alert("info", "fill"), alert("error", "halted")
    assert [each.wants(fill, "info", ("fill",)) for each in (plain, loud, trades)] == [True, False, True]
    assert [each.wants(halt, "info", ("halt",)) for each in (plain, loud, trades)] == [True, True, False]
    assert not plain.wants(fill, "warning", ("fill",))
    assert not plain.wants(fill, "info", ("halt",))


# The state directory, found fast

SURE = [
    ({}, "", None, ".data"),
    ({"BOT_STATE_DIR": "env"}, "", "state_dir = 'file'", "env"),
    (
        {"BOT_SEED": "1"},
        "BOT_SEED=2\n",
        "data_dir = 'x'\nstate_dir = 'file'\n[risk]\nmax_leverage = 1",
        "file",
    ),
]
UNSURE = [
    ({}, "BOT_STATE_DIR=dotenv\n", None),
    ({}, "export bot_state_dir=dotenv\n", None),
    ({"BOT_STATE_DIRR": "env"}, "", None),
    ({"bot_state_dir": "env"}, "", None),
    ({"BOT_STATE__DIR": "env"}, "", None),
    ({"BOT_STATE_DIR": "env"}, "BOT_STAT_DIR=x\n", None),
    ({}, "", "statedir = 'file'"),
    ({}, "", "[state]\ndir = 'file'"),
    ({}, "", "state_dir = 3"),
    ({}, "", "state_dir ="),
]


def place(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], dotenv: str, file: str | None
) -> Path | None:
    monkeypatch.chdir(folder)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    if dotenv:
        write(folder, dotenv, ".env")
    return write(folder, file) if file is not None else None


@pytest.mark.parametrize(("environ", "dotenv", "file", "found"), SURE)
def test_the_state_directory_found_fast_is_the_settings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    dotenv: str,
    file: str | None,
    found: str,
) -> None:
    config = place(tmp_path, monkeypatch, environ, dotenv, file)
    assert find_state_dir(config) == load(config).state_dir == Path(found)


@pytest.mark.parametrize(("environ", "dotenv", "file"), UNSURE)
def test_where_the_state_directory_may_be_misspelt_all_settings_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], dotenv: str, file: str | None
) -> None:
    assert find_state_dir(place(tmp_path, monkeypatch, environ, dotenv, file)) is None


@given(st.sampled_from([key for key in FIELDS if key != "state_dir"]))
def test_no_other_setting_looks_like_the_state_directory(key: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(key), "x")
        assert find_state_dir(None) == Path(".data")


def test_a_file_that_is_missing_is_left_to_load(tmp_path: Path) -> None:
    assert find_state_dir(tmp_path / "none.toml") is None


def test_a_dollar_brace_in_a_secret_of_the_env_file_stays_as_it_is(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("BOT_VENUE__API_SECRET='a${HOME}b$c'\n", encoding="utf-8")
    env.chmod(0o600)
    secret = load(environ={}, dotenv=env).venue.api_secret
    assert secret is not None
    assert secret.get_secret_value() == "a${HOME}b$c"
