"""A package that is not the one whose hash is locked is not installed."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def wheel(folder: Path, content: str) -> str:
    """A tiny package in ``folder``; returns the SHA-256 of its file."""
    files = {
        "tinypackage.py": content,
        "tinypackage-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n",
        "tinypackage-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {name: hashlib.sha256(text.encode()).digest() for name, text in files.items()}
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},{len(files[name])}"
        for name, digest in digests.items()
    ]
    files["tinypackage-1.0.dist-info/RECORD"] = "\n".join([*record, "tinypackage-1.0.dist-info/RECORD,,"])
    path = folder / "tinypackage-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(folder: Path, lock: str) -> "subprocess.CompletedProcess[str]":
    """Install ``lock`` from ``folder``, with the words that scripts/install gives pip."""
    (folder / "lock.txt").write_text(lock)
    (words,) = re.findall(r"^  pip install (.*) \"\$\{locks\[@\]\}\"$", INSTALL, re.MULTILINE)
    offline = ["--no-index", "--find-links", str(folder), "--target", str(folder / "made"), "--no-cache-dir"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        *words.split(),
        *offline,
    ]
    return subprocess.run(
        [*command, "-r", str(folder / "lock.txt")], capture_output=True, text=True, timeout=120, check=False
    )


INSTALL = (ROOT / "scripts/install").read_text()


@pytest.mark.fault(90)
@pytest.mark.surface("dependencies")
@pytest.mark.parametrize("is_altered", [False, True])
def test_a_package_with_another_hash_is_not_installed(is_altered: bool, tmp_path: Path) -> None:
    reviewed = wheel(tmp_path, "WORD = 'reviewed'")
    if is_altered:
        wheel(tmp_path, "WORD = 'altered'")
    done = install(tmp_path, f"tinypackage==1.0 --hash=sha256:{reviewed}\n")
    assert (done.returncode == 0) == (not is_altered), done.stderr
    assert (tmp_path / "made/tinypackage.py").exists() == (not is_altered)
    if is_altered:
        assert "DO NOT MATCH THE HASHES" in done.stderr


@pytest.mark.fault(90)
@pytest.mark.surface("dependencies")
def test_a_package_without_a_hash_is_not_installed(tmp_path: Path) -> None:
    wheel(tmp_path, "")
    done = install(tmp_path, "tinypackage==1.0\n")
    assert done.returncode != 0
    assert not (tmp_path / "made").exists()


@pytest.mark.fault(90)
@pytest.mark.surface("dependencies")
def test_torch_alone_is_installed_without_a_hash_and_its_lock_says_why() -> None:
    unhashed = [line for line in INSTALL.splitlines() if "pip install" in line and "hashes" not in line]
    assert len(unhashed) == 5
    assert [line for line in unhashed if "torch=" not in line and "--editable ." not in line] == []
    assert "without hashes: on Linux it takes the CPU build" in (ROOT / "scripts/lock/torch.txt").read_text()


def test_a_new_lock_leaves_out_versions_of_the_last_days() -> None:
    assert "--exclude-newer" in (ROOT / "scripts/update-lock").read_text()
