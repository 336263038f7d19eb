"""`shiplog serve`: what it says when it cannot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

# It listens before it asks for anything of the database.
NO_DATABASE = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "SHIPLOG_SECRET": "a secret of thirty-two characters",
}


def test_a_port_that_is_taken_is_told_in_a_line() -> None:
    environ = os.environ | NO_DATABASE
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
        served = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert served.returncode == 1
    told = " ".join(served.stderr.replace("│", " ").split())  # a box of some lines
    assert f"Cannot listen on 127.0.0.1, port {port}: Address already in use (os error 98)." in told
    assert "Choose another --host or --port." in told
    assert "backtrace" not in told
    assert "Traceback" not in told
