"""Without a home folder, or with one that cannot be written, there is no cache, and everything else works."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadowdiffusion import runtime
from shadowdiffusion.export.commands.cli import app as export_app
from shadowdiffusion.runtime.bundle.archive import unpack
from shadowdiffusion.runtime.bundle.engines import engine_stores
from shadowdiffusion.runtime.cache import _warn_once, cache_folder
from shadowdiffusion.runtime.commands.cli import app
from shadowdiffusion.runtime.errors import BundleError
from tests.runtime.tiny import picture, save, write_bundle

ROOT = Path(__file__).resolve().parents[2]
NOTE = "there is no cache, since this user has no home folder: XDG_CACHE_HOME chooses a folder"
UID = 54321
"""Of nobody."""
AS_NOBODY = [
    *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),  # Python may lie in a folder of root's
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("cache") / "bundle", golden=True)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is not set, and the user's id is not in the list of accounts."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    _warn_once.cache_clear()


@pytest.mark.usefixtures("homeless")
def test_no_home_is_no_cache(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match=NOTE):
        assert cache_folder("checks") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        opened = runtime.load(bundle, "portable", "cpu", 1).bundle
        assert engine_stores(opened) == [opened.path / "engines"]
        monkeypatch.setenv("HOME", "not/absolute")
        assert cache_folder("checks") is None
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_folder("checks") == Path("/somewhere/.cache/shadowdiffusion/checks")


@pytest.mark.usefixtures("homeless")
def test_packed_bundle_without_a_cache_says_what_to_set(bundle: Path, tmp_path: Path) -> None:
    packed = tmp_path / "bundle.zip"
    packed.write_bytes(b"PK")
    with (
        pytest.warns(UserWarning, match=NOTE),
        pytest.raises(BundleError, match=r"no cache folder \(XDG_CACHE_HOME chooses a folder\)"),
    ):
        unpack(packed)


@pytest.mark.usefixtures("homeless")
def test_commands_go_on_without_a_home(bundle: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = CliRunner().invoke(app, ["doctor", "--bundle", str(bundle), "--threads", "1"])
        inspected = CliRunner().invoke(export_app, ["inspect", str(bundle)])
    assert found.exit_code == 0, found.output
    lines = {line[:21].strip(): line[21:] for line in found.stdout.splitlines()}
    assert lines["cache"].startswith("no cache, since this user has no home folder")
    assert lines["engines"] == f"looked for in {bundle / 'engines'}"
    assert inspected.exit_code == 0, inspected.output


def nobody_runs(*arguments: str, cwd: Path, home: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"HOME": str(home)} if home else {}
    command = [*AS_NOBODY, sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def public(bundle: Path) -> Iterator[Path]:
    """A folder with results/ of nobody's, and read-only/ with a photo and a bundle. pytest's own folder is private."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to become a user without an account")
    if subprocess.run([*AS_NOBODY, "true"], check=False, capture_output=True).returncode:
        pytest.skip("setpriv may not change the user here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(bundle, folder / "read-only" / "bundle")
        save(folder / "read-only" / "photo.png", picture(40, 60))
        for path in (folder / "read-only").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        (folder / "read-only").chmod(0o555)
        (folder / "results").mkdir()
        os.chown(folder / "results", UID, UID)
        yield folder


@pytest.mark.parametrize("with_home", [False, True])
def test_nobody_restores_a_photo(public: Path, with_home: bool) -> None:
    """In a container whose user has no account: no home, or one that cannot be written, as the current folder."""
    read_only, result = public / "read-only", public / "results" / "restored.png"
    arguments = ("runtime", "restore", "photo.png", "-o", str(result), "--bundle", "bundle", "--quiet")
    run = nobody_runs(*arguments, cwd=read_only, home=read_only if with_home else None)
    assert run.returncode == 0, run.stderr
    assert result.stat().st_uid == UID
    assert run.stderr == ("" if with_home else f"warning: {NOTE}\n")


def test_nobody_builds_an_engine(public: Path) -> None:
    """In a bundle that can be written; elsewhere one line says what to set."""
    read_only, own = public / "read-only", public / "results" / "bundle"
    shutil.copytree(read_only / "bundle", own)
    for path in (own, *own.rglob("*")):
        os.chown(path, UID, UID)
        path.chmod(0o755)
    build = ("export", "build-engine", "--backend", "onnxruntime")
    run = nobody_runs(*build, str(own), cwd=read_only, home=None)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count(NOTE) == 1
    assert len(list((own / "engines").iterdir())) == 1
    run = nobody_runs(*build, "bundle", cwd=read_only, home=None)
    assert run.returncode == 2
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: there is no place for engines: bundle cannot be written, and there is no cache: "
        "XDG_CACHE_HOME chooses a folder"
    ]
