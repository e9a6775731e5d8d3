"""The environment that every command prepares for itself."""

import os
import subprocess
import sys

import pytest

from flows.engine.environment import prepare_environment

NAMES = ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")


@pytest.fixture
def environment(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"ATO_WAREHOUSE": str(tmp_path / "data" / "warehouse")})
    for name in NAMES:
        os.environ.pop(name, None)
    return os.environ


def test_the_server_that_a_run_starts_for_itself_asks_for_a_random_key_that_its_client_has(environment):
    prepare_environment()
    key = environment["PREFECT_SERVER_API_AUTH_STRING"]
    assert environment["PREFECT_API_AUTH_STRING"] == key
    assert len(key) > 40
    prepare_environment()
    assert environment["PREFECT_API_AUTH_STRING"] == key, "a child has the key of its parent"
    for name in NAMES:
        environment.pop(name, None)
    prepare_environment()
    assert environment["PREFECT_API_AUTH_STRING"] != key


def test_threads_that_wait_for_one_another_sleep_rather_than_spin():
    program = "from flows.engine.environment import prepare_environment as p; p(); import torch"
    shown = os.environ | {"OMP_DISPLAY_ENV": "verbose"}
    shown.pop("GOMP_SPINCOUNT", None)
    done = subprocess.run([sys.executable, "-c", program], env=shown, capture_output=True, text=True, check=True)
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr, "what OpenMP itself read when torch loaded it"


def test_a_server_that_somebody_else_runs_keeps_its_own_key(environment):
    environment["PREFECT_API_URL"] = "http://server:4200/api"
    prepare_environment()
    assert "PREFECT_API_AUTH_STRING" not in environment
    assert "PREFECT_SERVER_API_AUTH_STRING" not in environment


def test_the_server_of_a_run_asks_for_a_key_in_a_prefect_folder_of_the_users_choice_too(environment, tmp_path):
    environment["PREFECT_HOME"] = str(tmp_path)
    prepare_environment()
    assert len(environment["PREFECT_SERVER_API_AUTH_STRING"]) > 40
    assert environment["PREFECT_API_AUTH_STRING"] == environment["PREFECT_SERVER_API_AUTH_STRING"]


def test_a_server_that_the_active_profile_names_keeps_its_own_key(environment, tmp_path):
    (tmp_path / "profiles.toml").write_text(
        'active = "ours"\n[profiles.ours]\nPREFECT_API_URL = "http://server:4200/api"\n'
    )
    environment["PREFECT_HOME"] = str(tmp_path)
    prepare_environment()
    assert "PREFECT_API_AUTH_STRING" not in environment
