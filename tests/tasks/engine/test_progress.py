"""What people see of work: lines where no terminal draws bars, bars that fit a narrow one, nothing of short tasks."""

import io
import re
import time
from contextlib import redirect_stderr

import pytest
from rich.console import Console

from tasks.engine import progress
from tasks.engine.progress import Progress, phase, say

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def printed(monkeypatch):
    """What a console that is no terminal was given; its patience is short."""
    file = io.StringIO()
    monkeypatch.setattr(progress, "terminal", Console(file=file, width=200))
    monkeypatch.setattr(progress, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(progress, "SHORT_SECONDS", 0.02)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    return file


def until_printed(file: io.StringIO, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in file.getvalue():
        assert time.monotonic() < deadline, file.getvalue()
        time.sleep(0.01)


def test_a_line_comes_although_nothing_is_counted(printed):
    with Progress("collect", 1000, "tokens", "layer 3") as counted:
        until_printed(printed, "collect   0 % of 1,000 tokens (layer 3), 0:00 so far")
        counted.reach(250)
        until_printed(printed, "collect   25 % of 1,000 tokens (layer 3), ")
        until_printed(printed, " tokens/s, ")
        until_printed(printed, " left")


def test_the_innermost_work_speaks_and_its_surroundings_after_it(printed):
    with phase("operators", "at work"):
        with phase("operators", "reading moments"):
            until_printed(printed, "operators reading moments, 0:00 so far")
        before = len(printed.getvalue())
        until_printed(printed, "operators at work")
        assert "reading" not in printed.getvalue()[before:].split("at work")[-1]


def test_short_tasks_and_silence_that_was_broken_need_no_line(printed, monkeypatch):
    monkeypatch.setattr(progress, "SHORT_SECONDS", 1000.0)
    with phase("saes", "short"):
        time.sleep(0.1)
    monkeypatch.setattr(progress, "SHORT_SECONDS", 0.0)
    monkeypatch.setattr(progress, "SILENCE_SECONDS", 1000.0)
    with phase("saes", "long"):
        say("saes", "a word")
        time.sleep(0.1)
    assert printed.getvalue() == "saes      a word\n"


def test_a_line_comes_while_a_library_is_silenced(printed, monkeypatch):
    monkeypatch.setattr(progress, "terminal", Console(stderr=True))
    with redirect_stderr(printed), phase("model", "loading"), redirect_stderr(io.StringIO()) as lost:
        until_printed(printed, "model     loading, 0:00 so far")
    assert lost.getvalue() == ""


def test_a_line_stands_in_the_log_too(printed, monkeypatch):
    logged = []
    monkeypatch.setattr(progress, "_log", lambda stage, message: logged.append((stage, message)))
    with phase("causal", "reading operators"):
        until_printed(printed, "reading operators")
    assert ("causal", "reading operators, 0:00 so far") in logged


def test_a_rate_is_that_of_the_last_minute_and_more_than_all_is_all(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    counted = Progress("collect", 10_000, "tokens")
    for second in range(200):
        now = 1000.0 + second
        counted.reach(5000 + 10 * second if second else 5000)
    assert counted.status() == "70 % of 10,000 tokens, 10 tokens/s, 5:01 left"
    counted.reach(10_001)
    assert counted.status().startswith("100 % of 10,000 tokens, ")
    assert counted.status().endswith("tokens/s")


@pytest.mark.parametrize(
    ("unit", "detail"),
    [("tokens", "layer 12"), ("%", "gpt2-small/12-res_scefr-ajt-and-a-very-long-name-of-a-source-that-nobody-reads")],
)
def test_a_bar_fits_eighty_columns(unit, detail, monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(progress, "terminal", Console(file=file, width=80, force_terminal=True, highlight=False))
    with phase("pipeline", "at work"), Progress("operators", 123_456_789, unit, detail) as counted:
        counted.began -= 100
        counted.reach(12_345_678)
        bars = progress._speaker._bars
        bars.refresh()
        say("operators", "a line between")
        bars.refresh()
    lines = [line for line in re.split(r"[\r\n]", ANSI.sub("", file.getvalue())) if line.strip()]
    assert max(map(len, lines)) <= 80
    drawn = [line for line in lines if "10 % of" in line]
    assert drawn
    assert [line for line in drawn if not line.startswith("operators ")] == []
    assert not any("at work" in line for line in drawn)
    assert "operators a line between" in lines


def test_no_thread_and_no_bar_is_left_when_work_has_ended(printed):
    with pytest.raises(ValueError, match="broken"), Progress("collect", 10, "tokens"):
        raise ValueError("broken")
    assert (progress._speaker._bars, progress._speaker._ended, progress._speaker._at_work) == (None, None, [])


def test_what_looks_like_markup_in_a_path_or_a_text_is_printed_as_it_is(printed):
    say("entities", "I met {entity}[[met]] at /data/[red]/[/x].jsonl [0.50, 1.00]")
    assert printed.getvalue() == "entities  I met {entity}[[met]] at /data/[red]/[/x].jsonl [0.50, 1.00]\n"
