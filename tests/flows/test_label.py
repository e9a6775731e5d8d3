"""The flow ``label`` on a tiny model: from the pipeline's stages to the table, by a server, killed, resumed, shared out."""

import json
import re
import shutil
import signal
from collections import Counter
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ato.errors import UnavailableError
from flows.cli import app
from flows.label import label
from flows.settings import Settings
from tasks.label.task import label_features
from tests.flows.forked_stages import Death
from tests.flows.planted_label import CHAT, FEATURES, by_words, chat_settings
from tests.flows.test_fault_injection import parts as parquet_files
from tests.flows.test_fault_injection import steady_rows
from tests.flows.tiny_study import tiny_settings
from tests.judge_server import JudgeServer
from tests.tasks.label.planted_study import WORD, collected, planted_settings
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
TABLES = ("labelled_features", "feature_descriptions", "detection_trials", "description_scores", "llm_calls")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A collection with the planted SAE, not yet labelled; ATO_WAREHOUSE points at it while the module runs."""
    folder = tmp_path_factory.mktemp("label")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = planted_settings(folder)
        collection, sae = collected(settings)
        yield SimpleNamespace(folder=folder, settings=settings, collection=collection, sae=sae)


@pytest.fixture
def copy(base, tmp_path, monkeypatch):
    """A copy of that warehouse for one test, the one of the environment meanwhile."""
    shutil.copytree(base.folder / "warehouse", tmp_path / "warehouse", ignore=shutil.ignore_patterns("locks"))
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    return base


def plainly(base: SimpleNamespace, settings: Settings) -> list[str]:
    return label_features.fn(settings.study(base.collection), [base.sae], settings.label)


def bodies(server: JudgeServer) -> Counter[str]:
    """How often each request was answered."""
    return Counter(json.dumps(body, sort_keys=True) for body in server.answered)


def test_the_flow_brings_what_it_needs_up_to_date_and_shows_what_it_found(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "data" / "warehouse"))
    own = {"n_features": 4, "n_trials": 5, "windows": {"n_held_out_top": 3, "n_held_out_random": 5, "n_silent": 6}}
    settings = tiny_settings(tmp_path, label=own | {"layers": [2], "n_neurons": 2, "second_judge": None})
    (key, of_neurons) = label(settings)
    found = rows(None, "select * from feature_labelled order by source, place")
    assert {row["labelling"] for row in found} == {key, of_neurons}
    assert Counter(row["source"] for row in found) == {"neurons": 2, "sae": 4}
    scores = rows(None, "select score from latest_feature_scores where layer = 2 order by rank limit 4")
    assert [row["value"] for row in found if row["source"] == "sae"] == [row["score"] for row in scores]
    (sae,) = rows(None, "select l0 / d_sae as rate from saes where layer = 2")
    neurons = [row["activation_rate"] for row in found if row["source"] == "neurons"]
    assert neurons == pytest.approx([sae["rate"]] * 2, abs=0.02), "as rare as the features beside them"
    shown = CliRunner().invoke(app, ["show", "label"])
    assert shown.exit_code == 0
    assert "overlap" in shown.output
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


LOG_PROBABILITY = -0.25


def by_pieces(text: str) -> list[dict[str, object]]:
    """Tokens of a reply with their log-probabilities: nothing is in doubt but the answers."""
    pieces = re.split("(true|false)", text)
    return [{"token": one, "logprob": LOG_PROBABILITY if one in ("true", "false") else 0.0} for one in pieces if one]


def test_a_server_is_asked_nothing_twice_and_its_calls_are_on_record(copy):
    with JudgeServer(by_words, logprobs=by_pieces) as server:
        settings = chat_settings(copy.folder, server.url)
        plainly(copy, settings)
        calls = rows(None, "select call, status, mode, purpose, reply, log_probability from llm_calls")
        assert len(calls) == len(server.requests) == len(bodies(server))
        assert {row["status"] for row in calls} == {"answered"}
        for row in calls:  # a description is no choice; of an intruder nothing is in doubt
            n_in_doubt = len(re.findall("true|false", row["reply"]))
            expected = None if row["purpose"] == "description" else pytest.approx(n_in_doubt * LOG_PROBABILITY)
            assert row["log_probability"] == expected
        named = {row["call"] for row in rows(None, "select distinct call from detection_trials")}
        assert named <= {row["call"] for row in calls}
        before = len(server.requests)
        more = chat_settings(copy.folder, server.url, shuffled=False)
        plainly(copy, more)
        assert len(server.requests) == before, "all that it asks was answered before"
    (word,) = rows(None, "from feature_labelled where feature_id = ?", [WORD])
    assert word["detection"] == 1.0


def test_a_budget_is_never_exceeded_and_a_larger_one_asks_the_rest_only(copy):
    with JudgeServer(by_words) as server:
        plainly(copy, chat_settings(copy.folder, server.url, chat=CHAT | {"base_url": server.url, "max_calls": 12}))
        assert len(server.requests) == 12
        left = rows(None, "select count(*) as n from detection_trials where reason = 'budget'")[0]["n"]
        assert left > 0
        plainly(copy, chat_settings(copy.folder, server.url))
        assert set(bodies(server).values()) == {1}
    (latest,) = rows(None, "select count(*) as n from feature_labelled where detection is null")
    assert latest["n"] == 0


def test_a_server_that_is_away_is_said_in_one_line_and_nothing_is_committed(copy):
    with JudgeServer() as server:
        url = server.url
    with pytest.raises(UnavailableError, match="judge"):
        plainly(copy, chat_settings(copy.folder, url))
    assert rows(None, "select 1 from feature_descriptions") == []
    assert len(rows(None, "select 1 from labelled_features")) == len(FEATURES), "windows are kept"


def test_two_judges_classify_the_same_features_and_their_agreement_is_kept(copy):
    with JudgeServer(by_words) as server:
        space = {"label_space": "feature-categories", "second_judge": "chat", "judge": "overlap"}
        chat = {"second_chat": CHAT | {"base_url": server.url}}
        plainly(copy, chat_settings(copy.folder, server.url, **space, **chat))
    labels = rows(None, "select judge, feature_id, value from feature_labels where property = 'category'")
    assert {row["judge"] for row in labels} == {"overlap", "writer"}
    (row,) = rows(None, "from label_agreement where property = 'category'")
    both = Counter(one["feature_id"] for one in labels if one["value"] is not None)
    assert row["n"] == sum(count == 2 for count in both.values())
    assert (row["kappa"] is None) == (row["reason"] is not None)
    assert (row["judge"], row["other_judge"]) == ("overlap", "writer")


DEATHS = (
    Death("half", "example_windows/*"),
    Death("judge answered", count=2),
    Death("judge answered", count=9),
    Death("before", "detection_trials/*"),
    Death("after", "description_scores/*"),
)


def test_a_labelling_killed_at_five_moments_ends_in_the_rows_of_an_undisturbed_one_without_a_repeated_call(
    base, forks, tmp_path
):
    what, log = "tests.flows.planted_label:run_label", tmp_path / "log"
    killed, expected = (tmp_path / name / "warehouse" for name in ("killed", "undisturbed"))
    for root in (killed, expected):
        shutil.copytree(base.folder / "warehouse", root, ignore=shutil.ignore_patterns("locks"))
    with JudgeServer(by_words) as server:
        settings = chat_settings(base.folder, server.url)
        assert forks.run(settings, expected, log, what=what) == 0, log.read_text()
        undisturbed = bodies(server)
        server.answered.clear()
        for death in DEATHS:
            log.unlink()
            assert forks.run(settings, killed, log, death, what) == -signal.SIGKILL, f"{death} {log.read_text()}"
        log.unlink()
        assert forks.run(settings, killed, log, what=what) == 0, log.read_text()
        assert bodies(server) == undisturbed
        assert set(undisturbed.values()) == {1}
    for table in TABLES:
        assert steady_rows(Warehouse(killed), table) == steady_rows(Warehouse(expected), table)
    files = [
        {path: h for path, h in parquet_files(Warehouse(root)).items() if "llm_calls" not in path}
        for root in (killed, expected)
    ]
    assert files[0] == files[1]


def test_a_labelling_that_was_killed_goes_on_with_what_is_left_of_its_budget(base, forks, tmp_path):
    what, log, root = "tests.flows.planted_label:run_label", tmp_path / "log", tmp_path / "warehouse"
    shutil.copytree(base.folder / "warehouse", root, ignore=shutil.ignore_patterns("locks"))
    with JudgeServer(by_words) as server:
        chat = CHAT | {"base_url": server.url, "max_calls": 12}
        settings = chat_settings(base.folder, server.url, chat=chat)
        death = Death("judge answered", count=9)
        assert forks.run(settings, root, log, death, what) == -signal.SIGKILL, log.read_text()
        n_before = len(server.requests)
        assert 9 <= n_before < 12
        log.unlink()
        assert forks.run(settings, root, log, what=what) == 0, log.read_text()
        assert set(bodies(server).values()) == {1}
        assert len(server.requests) <= 12 + (n_before - 9), "a reply that was not on record yet is asked for again"


def test_two_dask_workers_write_the_rows_of_one_process(base, workers, tmp_path, monkeypatch):
    settings = planted_settings(base.folder, n_neurons=2)
    found = {}
    for name in ("alone", "workers"):
        shutil.copytree(base.folder / "warehouse", tmp_path / name, ignore=shutil.ignore_patterns("locks"))
        monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / name))
        if name == "alone":
            plainly(base, settings)
        else:
            workers.use(tmp_path / name)
            label(workers.do(settings), base.collection, [base.sae])
        found[name] = parquet_files(Warehouse())
    assert found["workers"] == found["alone"]


def test_a_dry_run_asks_nothing_and_says_calls_tokens_and_cost(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    options = [
        "--set",
        "label.judge=chat",
        "--set",
        "label.chat.prompt_price=1",
        "--set",
        "label.chat.completion_price=2",
    ]
    shown = CliRunner().invoke(app, ["run", "label", "--dry-run", *options])
    assert shown.exit_code == 0, shown.output
    assert "smollm2-135m" in shown.output
    assert not (tmp_path / "warehouse").exists()
    refused = CliRunner().invoke(app, ["run", "operators", "--dry-run"])
    assert refused.exit_code != 0
    assert "asks no judge" in str(refused.exception)
