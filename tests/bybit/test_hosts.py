from pathlib import Path
from urllib.parse import urlsplit

import pytest

import bot
from bot.bybit.hosts import (
    PUBLIC_HOSTS,
    PUBLIC_REST,
    SIGNED,
    SIGNED_HOSTS,
    check_base_url,
    check_signed_url,
    local_public_ws,
    local_urls,
)
from bot.domain.errors import BadInput


@pytest.mark.parametrize(
    "url",
    [
        *PUBLIC_REST.values(),
        *(f"https://{host}" for host in sorted(PUBLIC_HOSTS)),
        "https://api.bybit.com:443",
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "http://[::1]:9",
    ],
)
def test_bybit_over_tls_and_this_machine_are_allowed(url: str) -> None:
    assert check_base_url(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.bybit.com",
        "http://api.bybit.com",
        "https://api.bybit.com:8443",
        "https://evil.example",
        "https://api.bybit.com.evil.example",
        "https://api.bybit.com@evil.example",
        "https://user:pass@api.bybit.com",
        "https://api.bybit.com/v5",
        "https://api.bybit.com?x=1",
        "https://api.bybit.com#x",
        "http://127.0.0.1.evil.example",
        "http://169.254.169.254",
        "http://0.0.0.0:80",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "http://[::1",
        "http://127.0.0.1:99999",
        "https://api.bybit.com?",
        "https://api.bybit.com#",
        "http://127.0.0.1\n:80",
        "http://127.0.\t0.1",
        " http://127.0.0.1",
        "http://127.0.0.1\\@evil.example",
    ],
)
def test_every_other_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="must be"):
        check_base_url(url)


SIGNED_URLS = [url for each in SIGNED.values() for url in (each.rest, each.private_ws, each.trade_ws) if url]


@pytest.mark.parametrize(
    "url", [*SIGNED_URLS, "http://127.0.0.1:8650", "ws://localhost:1/v5/trade", "http://[::1]:9"]
)
def test_signed_calls_reach_the_test_hosts_and_this_machine(url: str) -> None:
    assert check_signed_url(url) == url


@pytest.mark.fault(89)
@pytest.mark.surface("signing")
@pytest.mark.parametrize(
    "url",
    [
        *(f"https://{host}" for host in sorted(PUBLIC_HOSTS - SIGNED_HOSTS)),
        "wss://stream.bybit.com/v5/private",
        "http://api-testnet.bybit.com",
        "ws://stream-demo.bybit.com/v5/private",
        "https://api-testnet.bybit.com:8443",
        "https://api-testnet.bybit.com.evil.example",
        "https://api-testnet.bybit.com@evil.example",
        "https://evil.example",
        "http://169.254.169.254",
        "http://0.0.0.0:80",
        "https://api-testnet.bybit.com/v5",
        "ftp://127.0.0.1",
        "",
    ],
)
def test_nothing_signed_goes_anywhere_else(url: str) -> None:
    with pytest.raises(BadInput):
        check_signed_url(url)


@pytest.mark.fault(91)
@pytest.mark.surface("mainnet")
def test_no_list_for_signed_calls_names_a_host_of_real_money() -> None:
    hosts = {urlsplit(url).hostname for url in SIGNED_URLS}
    assert hosts == SIGNED_HOSTS
    assert all("testnet" in host or "demo" in host for host in SIGNED_HOSTS)


@pytest.mark.fault(91)
@pytest.mark.surface("mainnet")
def test_the_mainnet_host_is_written_in_one_module_alone() -> None:
    sources = {
        path for path in Path(bot.__file__).parent.rglob("*.py") if "api.bybit.com" in path.read_text()
    }
    assert {path.name for path in sources} == {"hosts.py"}


def test_a_local_exchange_has_its_sockets_beside_it() -> None:
    urls = local_urls("http://127.0.0.1:8650/")
    assert urls.rest == "http://127.0.0.1:8650"
    assert urls.private_ws == "ws://127.0.0.1:8650/v5/private"
    assert urls.trade_ws == "ws://127.0.0.1:8650/v5/trade"
    assert local_public_ws("http://127.0.0.1:8650") == "ws://127.0.0.1:8650/v5/public/linear"
    with pytest.raises(BadInput, match="never to"):
        local_urls("http://api.bybit.com")
