"""`shiplog up`: one per data folder and port, on any address, without a proxy, and stopped by any signal at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml

from services.cli.instance import instance as instance_of
from services.embedded.daemon import holder
from services.embedded.one_up import hold_data
from services.embedded.postgres import Postgres
from tests.support.instances import COMMAND, Instance, copy_cluster, wait_until

ROOT = Path(__file__).resolve().parents[3]
PROXY = "http://127.0.0.1:9"  # nothing listens there
PROXIES = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"), PROXY)
LOCKS = ("up.lock", "postgres.lock", "valkey.lock")


@pytest.mark.xdist_group("instance")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::"])
def test_a_second_one_on_the_port_is_refused_before_it_starts_anything(
    instance: Instance, tmp_path: Path, host: str
) -> None:
    port = instance.url.rpartition(":")[2]
    message = refused("--data", str(tmp_path / "other"), "--host", host, "--port", port)
    assert f"Cannot listen on {host}, port {port}: Address already in use." in message
    assert not (tmp_path / "other").exists()


@pytest.mark.xdist_group("instance")
def test_a_second_one_on_the_data_folder_is_refused(instance: Instance) -> None:
    message = refused("--data", str(instance.data), "--port", "0")
    assert f"already, as process {instance.process.pid}. Stop it first" in message
    assert httpx.get(f"{instance.url}/readyz").status_code == 200


@pytest.mark.xdist_group("instance")
def test_more_processes_than_ports_are_refused(tmp_path: Path) -> None:
    message = refused("--data", str(tmp_path / "data"), "--port", "65535", "--api", "2")
    assert "ports end at 65535" in message


def refused(*arguments: str) -> str:
    """The one line of a `shiplog up` that ends with exit status 2."""
    done = subprocess.run([*COMMAND, "up", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_loopback_is_never_reached_through_a_proxy_and_a_second_signal_changes_nothing(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    copy_cluster(data)
    process = start("--data", str(data), "--host", "::1", "--port", "0", no_proxy="", NO_PROXY="", **PROXIES)
    ready = first_ready_line(process)
    assert ready.startswith("ready http://[::1]:")
    assert data.stat().st_mode & 0o077 == 0  # the copied folder was open to all
    assert httpx.get(f"{ready.split()[1]}/readyz", trust_env=False).status_code == 200
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    assert process.wait(30) == 0
    assert not any(map(holder, (data / lock for lock in LOCKS)))


@pytest.mark.xdist_group("instance")
def test_the_health_check_of_compose_ignores_a_proxy(instance: Instance) -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    command = services["api"]["healthcheck"]["test"]
    assert command[:3] == ["CMD", "python", "-c"]

    def check(port: str) -> int:
        code = command[3].replace("8000", port)
        environ = os.environ | PROXIES | {"no_proxy": "", "NO_PROXY": ""}
        return subprocess.run([sys.executable, "-c", code], env=environ, stderr=subprocess.DEVNULL).returncode

    assert check(instance.url.rpartition(":")[2]) == 0
    assert check("9") != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    copy_cluster(data)
    process = start("--data", str(data), "--port", "0")
    wait_until(lambda: holder(data / "postgres.lock"), 60)
    process.send_signal(number)
    assert process.wait(30) == 0
    assert not any(map(holder, (data / lock for lock in LOCKS)))


def test_a_command_that_started_postgres_leaves_it_to_an_up_that_came_meanwhile(tmp_path: Path) -> None:
    data = tmp_path / "data"
    copy_cluster(data)
    with ExitStack() as up:
        with instance_of(data):
            up.enter_context(hold_data(data))
        postgres = Postgres.attach(data)
        assert postgres is not None
        postgres.stop()


@pytest.mark.slow
def test_after_kill_9_the_next_one_takes_over(tmp_path: Path) -> None:
    data = tmp_path / "data"
    copy_cluster(data)
    first = start("--data", str(data), "--port", "0")
    port = first_ready_line(first).rpartition(":")[2]
    first.kill()
    second = start("--data", str(data), "--port", port)
    try:
        assert first_ready_line(second) == f"ready http://127.0.0.1:{port}"
    finally:
        second.terminate()
    assert second.wait(30) == 0
    assert not any(map(holder, (data / lock for lock in LOCKS)))


def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
    }
    return subprocess.Popen(
        [*COMMAND, "up", *arguments],
        env=inherited | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def first_ready_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return next(line.strip() for line in process.stdout if line.startswith("ready "))
