"""`shiplog serve`: errors at the start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

# It listens before it connects to the database.
NO_DATABASE = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "SHIPLOG_SECRET": "a secret of thirty-two characters",
}


def test_the_error_for_a_taken_port_is_one_line() -> None:
    environ = os.environ | NO_DATABASE
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
        served = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert served.returncode == 1
    message = " ".join(served.stderr.replace("│", " ").split())  # printed in a box, over several lines
    assert f"Cannot listen on 127.0.0.1, port {port}: Address already in use (os error 98)." in message
    assert "Choose another --host or --port." in message
    assert "backtrace" not in message
    assert "Traceback" not in message
