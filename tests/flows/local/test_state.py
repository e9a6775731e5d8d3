"""What ``ato up`` writes down, and the lock that allows only one of them."""

import os
import subprocess
import sys

import pytest

from ato.errors import InputError
from flows.local.state import UpState, only_one, read_state, running_api, state_path, use_running_server


def test_one_data_folder_has_one_platform_and_the_lock_ends_with_its_process():
    holder = "import sys; from flows.local.state import *\nwith only_one(): UpState(7, 't').write(); print(1, flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    with pytest.raises(InputError, match="kill 7"), only_one():
        pass
    process.kill()
    process.wait()
    with only_one() as left_behind:
        assert left_behind == UpState(7, "t")
    with only_one() as left_behind:
        assert left_behind is None, "one that ended in order leaves nothing"


def test_an_address_that_does_not_answer_is_no_running_server():
    UpState(1, "t", {"prefect": "http://127.0.0.1:9"}).write()
    assert running_api() is None


def test_the_state_of_a_killed_one_is_read_back():
    assert read_state() is None
    state = UpState(12, "token", {"prefect": "http://127.0.0.1:1"}, {"prefect": 13})
    state.write()
    assert read_state() == state


def test_the_key_is_for_the_user_alone_and_handed_to_the_commands_of_other_terminals(data, monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, "")  # so that they are as before at the end
        monkeypatch.delenv(name)
    state_path().with_suffix(f".{os.getpid()}").write_text("left behind, for all to read")
    UpState(1, "t", {"prefect": "http://127.0.0.1:9", "mlflow": "http://127.0.0.1:8"}, auth="ato:key").write()
    assert state_path().stat().st_mode & 0o777 == 0o600
    assert read_state().pages == {
        "prefect": "http://127.0.0.1:9/enter#ato:key",
        "mlflow": "http://127.0.0.1:8/#/models",
    }
    monkeypatch.setattr("flows.local.state.running_api", lambda: "http://127.0.0.1:9/api")
    use_running_server()
    assert os.environ["PREFECT_API_AUTH_STRING"] == "ato:key"
