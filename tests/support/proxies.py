"""Real proxies with TLS in front of an API process: nginx and haproxy, with the configurations that the documents show."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.instances import COMMAND, Instance, free_port, wait_until

OPERATIONS = Path(__file__).resolve().parents[2] / "docs/operations.md"
HOST = "127.0.0.1"
# nginx on its own, without the files of the distribution.
NGINX_MAIN = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


def documented(language: str) -> str:
    """The configuration that docs/operations.md shows in this language."""
    (shown,) = re.findall(rf"^```{language}\n(.*?)^```", OPERATIONS.read_text(), re.DOTALL | re.MULTILINE)
    return str(shown)


def program(name: str) -> str:
    """The path of a proxy. Without it the test is skipped, except in CI."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed")
    return found


@contextmanager
def run_nginx(folder: Path, port: int, upstream: int, server: str) -> Iterator[None]:
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX_MAIN.format(folder=folder, server=_local(server, folder, port, upstream)))
    with _running([program("nginx"), "-p", str(folder), "-c", str(configuration)], folder, port):
        yield


@contextmanager
def run_haproxy(folder: Path, port: int, upstream: int, configuration: str) -> Iterator[None]:
    file = folder / "haproxy.cfg"
    file.write_text(_local(configuration, folder, port, upstream))
    with _running([program("haproxy"), "-db", "-f", str(file)], folder, port):
        yield


@contextmanager
def serve_beside(instance: Instance, folder: Path, settings: dict[str, str]) -> Iterator[int]:
    """Another API process of a running instance, with settings of its own. Returns its port."""
    port = free_port()
    command = [*COMMAND, "serve", "--data", str(instance.data), "--port", str(port)]
    unlimited = {f"SHIPLOG_LIMIT_{name}": "0" for name in ("VISITOR", "ADDRESS", "LOGIN")}
    with _running(command, folder, port, {**os.environ, **unlimited, **settings}):
        # It listens before it is ready, and haproxy takes a server whose first check fails out of use.
        wait_until(lambda: _is_ready(port), 60)
        yield port


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def write_certificate(folder: Path) -> None:
    """A key and a certificate of its own for HOST, in one file, as haproxy wants it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)


def _local(configuration: str, folder: Path, port: int, upstream: int) -> str:
    """With the ports and the certificate of the test."""
    for shown, used in (
        ("verdicts.example.pem", str(folder / "certificate.pem")),
        ("listen 443", f"listen {HOST}:{port}"),
        ("bind :443", f"bind {HOST}:{port}"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
    ):
        configuration = configuration.replace(shown, used)
    return configuration


@contextmanager
def _running(
    command: list[str], folder: Path, port: int, environment: dict[str, str] | None = None
) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), 60)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
