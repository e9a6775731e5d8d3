"""Judges that are killed, in the process and with SIGKILL, repeat no call that was answered: the server counts."""

import collections
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ato.autointerp.call_cache import CallRecord, FolderCalls
from ato.autointerp.chat_client import ChatClient
from ato.autointerp.llm_judge import JudgeOptions, LanguageModelJudge
from tests.ato.autointerp.judge_questions import descriptions, trials
from tests.judge_server import MODEL, JudgeServer

ROOT = Path(__file__).parents[3]
N_FEATURES = 200
N_CALLS = N_FEATURES * (1 + 2)


class Killed(BaseException):
    """Ends the judge at once."""


class DyingCalls(FolderCalls):
    """Dies behind the k-th record, which may be followed by half of another one."""

    def __init__(self, folder: Path, k: int, torn: bool):
        super().__init__(folder)
        self._left, self._torn = k, torn

    def put(self, record: CallRecord) -> None:
        super().put(record)
        self._left -= 1
        if self._left == 0:
            if self._torn:
                self._append(b'{"call": "abc", "judge": "wri')
            raise Killed


def label(url: str, store: FolderCalls, concurrency: int = 1) -> list:
    """Description, detection and fuzzing of every feature."""
    questions = [*descriptions(N_FEATURES), *(trial for i in range(N_FEATURES) for trial in trials(i, 5))]
    with ChatClient(url, timeout=20.0) as client:
        judge = LanguageModelJudge(client, JudgeOptions(MODEL, concurrency=concurrency), store=store)
        return judge.answer(questions)


def asked_times(server: JudgeServer) -> collections.Counter:
    """How often each conversation was answered."""
    return collections.Counter(json.dumps(body["messages"]) for body in server.answered)


def test_200_features_that_are_killed_at_five_moments_are_labelled_without_a_repeated_call(tmp_path):
    with JudgeServer() as server:
        for moment, k in enumerate((1, 2, 99, 150, 250)):
            with pytest.raises(Killed):
                label(server.url, DyingCalls(tmp_path, k, torn=moment % 2 == 0))
        answers = label(server.url, FolderCalls(tmp_path), concurrency=4)
        assert all(answer.value is not None for answer in answers)
        assert label(server.url, FolderCalls(tmp_path)) == answers
        assert set(asked_times(server).values()) == {1}
        assert len(server.answered) == len(list(FolderCalls(tmp_path).records())) == N_CALLS


def test_a_process_that_is_killed_by_the_system_repeats_no_answered_call(tmp_path):
    program = (
        "import sys; from pathlib import Path; from tests.ato.autointerp.test_killed_judges import label, FolderCalls; "
        "label(sys.argv[1], FolderCalls(Path(sys.argv[2])))"
    )
    with JudgeServer() as server:
        running: list[subprocess.Popen] = []

        def kill(number: int) -> None:
            if number == 40:  # 39 are answered, and recorded before this one was asked
                os.kill(running[0].pid, signal.SIGKILL)
                running[0].wait()

        server.on_request = kill
        running.append(subprocess.Popen([sys.executable, "-c", program, server.url, str(tmp_path)], cwd=ROOT))
        assert running[0].wait(60) == -signal.SIGKILL
        assert len(list(FolderCalls(tmp_path).records())) == 39
        server.answered.clear()
        label(server.url, FolderCalls(tmp_path), concurrency=4)
        assert len(server.answered) == N_CALLS - 39
        assert len(list(FolderCalls(tmp_path).records())) == N_CALLS
