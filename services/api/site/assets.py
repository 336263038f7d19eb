"""Static files of the pages, kept in memory: no request names a file of the disk."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from litestar import Response, get
from litestar.params import FromPath

from services.api.http.auth import open_to_all
from services.api.http.problems import HttpRejected

_DIRECTORY = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".py": "text/x-python",
}
_TEXT = "text/plain"
_FILES = {
    path.relative_to(_DIRECTORY).as_posix(): path.read_bytes()
    for path in sorted(_DIRECTORY.rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
}


def _digest() -> str:
    """A digest of all files, as part of their address, so that the content of an address never changes."""
    digest = sha256()
    for name, content in _FILES.items():
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


STATIC_PATH = f"/static/{_digest()}"


@get(f"{STATIC_PATH}/{{file:path}}", guards=[open_to_all], include_in_schema=False, sync_to_thread=False)
def static_file(file: FromPath[str]) -> Response[bytes]:
    name = file.lstrip("/")
    if name not in _FILES:
        raise HttpRejected(404, "not-found", "There is nothing at this address.")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    media_type = _MEDIA_TYPES.get(Path(name).suffix, _TEXT)
    return Response(_FILES[name], media_type=media_type, headers=headers)
