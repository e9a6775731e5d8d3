"""Prefect's server on PostgreSQL, as docs/scale-out.md sets it up: a cluster of its own, migrations, flows side by side."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from tests.flows.running_platform import free_port

FLOWS = """
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

@task
def square(n):
    return n * n

@flow(name="squares")
def squares(n: int):
    futures = square.map(range(n))
    total = sum(future.result() for future in futures)
    create_table_artifact(table=[{"total": total}], key="squares")
    return total

with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
    assert squares(20) == 2470
"""


def binary(name: str) -> str:
    """A program of PostgreSQL: Debian keeps them out of the search path."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3].split(".")[0])
    )
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"no {name}: apt-get install -y --no-install-recommends postgresql"
    return path


@pytest.fixture(scope="module")
def postgres():
    """Address of an empty database in a cluster of its own."""
    # PostgreSQL refuses to run as root; Debian's package makes the user that it should run as.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="ato-postgres-"))
    if user:
        shutil.chown(folder, user)
    port, place = free_port(), {"user": user, "cwd": folder}
    subprocess.run(
        [binary("initdb"), "-D", folder / "data", "-U", "prefect", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
        **place,
    )
    options = ("-h", "127.0.0.1", "-p", str(port), "-k", folder, "-c", "fsync=off")
    with (folder.with_suffix(".log")).open("wb") as log:
        server = subprocess.Popen([binary("postgres"), "-D", folder / "data", *options], stderr=log, **place)
    try:
        asyncio.run(create_database(port))
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)
        folder.with_suffix(".log").unlink()


async def create_database(port: int) -> None:
    import asyncpg

    for _ in range(600):
        try:
            connection = await asyncpg.connect(host="127.0.0.1", port=port, user="prefect", database="postgres")
            break
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
    await connection.execute("create database prefect")
    await connection.close()


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory):
    """Environment of a process that uses a Prefect server on that database."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    environment = os.environ | {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_DATABASE_CONNECTION_URL": postgres,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"], env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            try:
                httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield environment
    finally:
        process.terminate()
        process.wait()


async def ask(address: str, sql: str) -> list[tuple]:
    import asyncpg

    connection = await asyncpg.connect(address.replace("+asyncpg", ""))
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


@pytest.mark.platform
def test_flows_side_by_side_keep_their_history_in_postgresql(postgres, server):
    running = [
        subprocess.Popen([sys.executable, "-c", FLOWS], env=server, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0, output.decode()
    assert asyncio.run(ask(postgres, "select name, state_type::text from flow_run order by name"))[0][1] == "COMPLETED"
    assert asyncio.run(ask(postgres, "select count(*) from flow_run where state_type = 'COMPLETED'")) == [(2,)]
    assert asyncio.run(ask(postgres, "select count(*) from artifact where key = 'squares'")) == [(2,)]
    deadline = time.monotonic() + 60
    while asyncio.run(ask(postgres, "select count(*) from task_run where state_type = 'COMPLETED'")) != [(40,)]:
        assert time.monotonic() < deadline  # task runs are recorded from events, a moment later
        time.sleep(0.5)
    found = httpx.post(f"{server['PREFECT_API_URL']}/flow_runs/count", json={}, timeout=30)
    assert found.json() == 2
