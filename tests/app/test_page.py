"""Where the page may listen, and that it speaks TLS where it is told to."""

import json
import shutil
import ssl
import subprocess
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bot.adapters.net.browsers import is_loopback
from bot.app.page import check_web
from bot.domain.errors import BadSettings
from bot.settings import WebSettings
from tests.cli.exchanges import BOT

CERT = {"tls_cert": Path("cert.pem"), "tls_key": Path("key.pem")}


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
    ],
)
@pytest.mark.surface("http")
def test_beyond_this_machine_a_page_needs_tls_or_an_explicit_word(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local
    chosen = WebSettings(host=host)
    if is_local:
        check_web(chosen, insecure=False)
    else:
        with pytest.raises(BadSettings, match=r"its token would travel in clear; set web\.tls_cert"):
            check_web(chosen, insecure=False)
    check_web(chosen, insecure=True)
    check_web(WebSettings(host=host, **CERT), insecure=False)


@pytest.mark.parametrize("only", CERT)
def test_a_certificate_needs_its_key(only: str) -> None:
    half: dict[str, Any] = {only: CERT[only]}
    with pytest.raises(BadSettings, match="one needs the other"):
        check_web(WebSettings(**half), insecure=True)


@pytest.mark.surface("http")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_it_speaks_tls_and_its_cookie_stays_in_it(tmp_path: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    make += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=127.0.0.1"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "bot.toml").write_text('[web]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\nport = 0\n')
    words = [*BOT, "-c", "bot.toml", "web"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        link = json.loads(page.stdout.readline())["url"]
        assert link.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        address = urlsplit(link)
        assert address.port is not None
        with closing(HTTPSConnection("127.0.0.1", address.port, timeout=30, context=trusted)) as browser:
            browser.request("GET", f"/?{address.query}")
            with browser.getresponse() as answer:
                assert answer.status == 303
                assert "Secure" in str(answer.headers["Set-Cookie"])
        page.terminate()


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    (tmp_path / "bot.toml").write_text('[web]\ntls_cert = "cert.pem"\ntls_key = "cert.pem"\n')
    done = subprocess.run(
        [*BOT, "-c", "bot.toml", "web"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert "web.tls_cert cert.pem: cannot be used" in done.stderr
