import pytest

from bot.bybit.hosts import PUBLIC_HOSTS, PUBLIC_REST, check_base_url
from bot.domain.errors import BadInput


@pytest.mark.parametrize(
    "url",
    [
        *PUBLIC_REST.values(),
        *(f"https://{host}" for host in PUBLIC_HOSTS),
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
    ],
)
def test_every_other_address_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="must be"):
        check_base_url(url)
