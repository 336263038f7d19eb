"""The peers' packages, locked and apart from Shiplog's: installed in `.bench/` when a lock file has changed."""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = HERE / "python"
NODE = HERE / "node"
CACHE = HERE.parent.parent / ".bench"
NODE_VERSION_MIN = 20
TIMEOUT_SECONDS = 600


class Unavailable(Exception):
    """Something that a peer needs is missing on this machine; the message says what."""


def python() -> str:
    """The interpreter that has the peers' packages."""
    home = CACHE / "python"
    interpreter, lock = str(home / "bin" / "python"), PYTHON / "requirements.lock"
    if not _installed(home, lock):
        uv = [sys.executable, "-m", "uv", "-q"]
        _install([*uv, "venv", "--clear", "--python", sys.executable, str(home)], CACHE)
        _install([*uv, "pip", "sync", "--python", interpreter, "--require-hashes", str(lock)], CACHE)
        _stamp(home, lock)
    return interpreter


def node() -> Path:
    """The folder with the peers' node_modules, and the program next to it, where Node looks for modules."""
    home = CACHE / "node"
    lock = NODE / "package-lock.json"
    _check_node()
    home.mkdir(parents=True, exist_ok=True)
    for path in NODE.iterdir():
        shutil.copy(path, home)
    if not _installed(home, lock):
        _install(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], home)
        _stamp(home, lock)
    return home


def version(name: str) -> str:
    """The name and version of a package in either lock file."""
    locked = json.loads((NODE / "package-lock.json").read_text())["packages"]
    if found := locked.get(f"node_modules/{name}"):
        return f"{name} {found['version']}"
    lines = (PYTHON / "requirements.lock").read_text().splitlines()
    return next(line.split()[0].replace("==", " ") for line in lines if line.startswith(f"{name}=="))


def _check_node() -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise Unavailable(f"no {program} on PATH")
    output_of = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if int(output_of.removeprefix("v").partition(".")[0]) < NODE_VERSION_MIN:
        raise Unavailable(f"node is {output_of}, the peer needs {NODE_VERSION_MIN} or newer")


def _installed(home: Path, lock: Path) -> bool:
    stamp = home / "installed"
    return stamp.exists() and filecmp.cmp(stamp, lock, shallow=False)


def _stamp(home: Path, lock: Path) -> None:
    shutil.copyfile(lock, home / "installed")


def _install(command: Sequence[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command[:4])} took more than {TIMEOUT_SECONDS} s") from None
    except subprocess.CalledProcessError as failed:
        output_of = failed.stderr.strip().splitlines() or [f"exit code {failed.returncode}"]
        raise Unavailable(f"its packages could not be installed: {output_of[-1]}") from None
