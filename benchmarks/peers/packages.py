"""The peers' packages, locked and kept out of ours: installed in `.bench/` when a lock file has changed."""

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
OLDEST_NODE = 20
SECONDS = 600


class NotHere(Exception):
    """What a peer needs is not on this machine; the message says what."""


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
    """The folder with the peers' node_modules and the program beside them, where Node looks for them."""
    home = CACHE / "node"
    lock = NODE / "package-lock.json"
    _demand_node()
    home.mkdir(parents=True, exist_ok=True)
    for path in NODE.iterdir():
        shutil.copy(path, home)
    if not _installed(home, lock):
        _install(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], home)
        _stamp(home, lock)
    return home


def version(name: str) -> str:
    """Of a package in either lock file, with its name."""
    locked = json.loads((NODE / "package-lock.json").read_text())["packages"]
    if found := locked.get(f"node_modules/{name}"):
        return f"{name} {found['version']}"
    lines = (PYTHON / "requirements.lock").read_text().splitlines()
    return next(line.split()[0].replace("==", " ") for line in lines if line.startswith(f"{name}=="))


def _demand_node() -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotHere(f"no {program} on PATH")
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(said.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise NotHere(f"node is {said}, the peer needs {OLDEST_NODE} or newer")


def _installed(home: Path, lock: Path) -> bool:
    stamp = home / "installed"
    return stamp.exists() and filecmp.cmp(stamp, lock, shallow=False)


def _stamp(home: Path, lock: Path) -> None:
    shutil.copyfile(lock, home / "installed")


def _install(command: Sequence[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise NotHere(f"{' '.join(command[:4])} took more than {SECONDS} s") from None
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.strip().splitlines() or [f"exit code {failed.returncode}"]
        raise NotHere(f"its packages could not be installed: {said[-1]}") from None
