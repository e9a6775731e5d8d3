"""Stage explain on a small warehouse and a local server: what is fetched, believed, skipped and never fetched twice."""

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ato.errors import DiskFullError, InputError
from tasks.engine.study import Study
from tasks.explain import task as explain
from tasks.settings import ExplainSettings, ModelSettings
from tests.neuronpedia_server import NEURONPEDIA_ID, Fault, NeuronpediaServer, explanation, feature
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows, row
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import commit, stage_problem
from warehouse.storage.warehouse import Warehouse

LABELLED, LOCAL = "pretrained-l04-aaaa0000", "topk-l02-32-bbbb0000"
LIVE = {0: ["a", "b"], 2: ["c", "d"], 5: ["e", "f"], 7: ["g", "h"]}
"""Feature -> its published top tokens."""


@pytest.fixture
def server() -> Iterator[NeuronpediaServer]:
    with NeuronpediaServer() as running:
        for i, tokens in LIVE.items():
            running.features[i] = feature(i, [f"▁{token}" for token in tokens], [explanation(i, f"about {i}")])
        running.put("explanations", 0, [explanation(str(i), f"about {i}") for i in LIVE])
        running.put("explanations", 1, [explanation(2, "about 2, by hand", typeName="human"), explanation(9, "beyond")])
        running.put("features", 0, [feature(i, [f"▁{token}" for token in tokens]) for i, tokens in LIVE.items()])
        yield running


def save(warehouse: Warehouse, stage: str, key: str, inputs: list[str], minutes: int, **tables: list[dict]) -> None:
    files = [warehouse.write_rows(t, found, key, collection=COLLECTION, **_part(t)) for t, found in tables.items()]
    started = STARTED + timedelta(minutes=minutes)
    commit(
        warehouse,
        stage,
        key,
        collection=COLLECTION,
        settings={},
        inputs=inputs,
        files=files,
        started_at=started,
        seconds=1.0,
    )


def _part(table: str) -> dict[str, str]:
    return {"sae": LABELLED} if table == "feature_scores" else {}


def score(
    warehouse: Warehouse, key: str, minutes: int, selected: tuple[int, ...], tokens: dict[int, list[str]]
) -> None:
    scored = [
        row(
            "feature_scores",
            sae=LABELLED,
            layer=4,
            scoring=key,
            feature_id=i,
            score=1.0 - i / 10,
            rank=n,
            selected=i in selected,
            top_tokens=tokens.get(i, []),
            top_logits=[1.0] * len(tokens.get(i, [])),
        )
        for n, i in enumerate(range(8), 1)
    ]
    save(warehouse, "feature_scores", key, [LABELLED], minutes, feature_scores=scored)


@pytest.fixture
def warehouse(tmp_path, monkeypatch) -> Warehouse:
    """Two SAEs, the one at layer 4 with a Neuronpedia id; of its 8 features 0, 2 and 3 are selected."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    made = Warehouse()
    save(made, "collect", COLLECTION, [], -1, **collect_rows())
    common = {"d_sae": 8, "trusted": True, "architecture": "topk"}
    save(
        made,
        "saes",
        "saes-1",
        [],
        0,
        saes=[
            row("saes", sae=LABELLED, layer=4, neuronpedia_id=NEURONPEDIA_ID, path="artifacts/saes/w", **common),
            row("saes", sae=LOCAL, layer=2, path="artifacts/saes/v", **common | {"source": "trained"}),
        ],
    )
    score(made, "scores-1", 1, (0, 2, 3), {0: ["a", " b"], 2: ["c", "x"], 3: ["y", "z"]})
    return made


@pytest.fixture
def checked() -> None:
    """Asks for the data-quality checks, which take most of a stage's time here."""


@pytest.fixture(autouse=True)
def _bare(request, monkeypatch) -> None:
    if "checked" not in request.fixturenames:
        monkeypatch.setattr("warehouse.quality.checks.check_stages", lambda *_: [])


@pytest.fixture
def said(monkeypatch) -> list[str]:
    lines: list[str] = []
    for module in ("tasks.explain.task", "tasks.engine.stage"):
        monkeypatch.setattr(f"{module}.say", lambda stage, message: lines.append(message))
    return lines


def run(server: NeuronpediaServer | str, **settings: Any) -> None:
    url = server if isinstance(server, str) else server.url
    values = {"api_url": url, "bulk_url": url, "max_attempts": 1} | settings
    study = Study(COLLECTION, ModelSettings())
    explain.explain_features.fn(study, [LABELLED, LOCAL], ExplainSettings.model_validate(values))


def stored(warehouse: Warehouse) -> list[dict[str, Any]]:
    return rows(warehouse, "from explanations order by feature_id, description")


@pytest.mark.parametrize("mode", ["bulk", "api"])
def test_selected_features_get_their_explanations_and_an_alignment_each(warehouse, server, said, checked, mode):
    run(server, mode=mode)
    found = [r for r in stored(warehouse) if r["type_name"] != "human"]
    assert [(r["feature_id"], r["description"], r["alignment"], r["aligned"]) for r in found] == [
        (0, "about 0", 1.0, True),
        (2, "about 2", 0.5, True),
    ]
    assert {(r["sae"], r["layer"], r["source"], r["neuronpedia_id"], r["explainer"]) for r in found} == {
        (LABELLED, 4, "neuronpedia", NEURONPEDIA_ID, "writer")
    }
    assert any("of 2 of 3 features" in line and "2 features aligned" in line for line in said)


def test_several_explanations_of_a_feature_are_all_kept(warehouse, server):
    run(server)
    texts = [r["description"] for r in stored(warehouse) if r["feature_id"] == 2]
    assert texts == ["about 2", "about 2, by hand"]


def test_an_sae_that_was_trained_here_is_skipped_in_one_line(warehouse, server, said):
    run(server)
    assert f"{LOCAL}: no Neuronpedia id: trained here, skipped" in said
    assert {r["sae"] for r in stored(warehouse)} == {LABELLED}


def test_the_limit_decides_what_is_aligned(warehouse, server):
    run(server, min_alignment=0.6)
    assert {r["feature_id"]: r["aligned"] for r in stored(warehouse)} == {0: True, 2: False}


def test_all_features_are_fetched_where_asked_and_where_none_are_selected(warehouse, server):
    run(server, all_features=True)
    found = {r["feature_id"]: (r["alignment"], r["aligned"]) for r in stored(warehouse)}
    # No feature beyond d_sae; no alignment where our own top tokens are not known.
    assert found == {0: (1.0, True), 2: (0.5, True), 5: (None, None), 7: (None, None)}
    score(warehouse, "scores-2", 2, (), {})
    run(server)
    latest = rows(warehouse, "select settings from stage_runs where stage = 'explain' order by started_at desc")[0]
    assert json.loads(latest["settings"])["features"] == "all"


def test_all_features_by_the_api_are_asked_for_in_batches(warehouse, server):
    run(server, mode="api", all_features=True)
    assert server.paths() == ["/api/features"]
    assert {r["feature_id"] for r in stored(warehouse)} == set(LIVE)


def test_without_published_top_tokens_alignment_and_verdict_are_null(warehouse, server):
    server.files = {key: data for key, data in server.files.items() if "/features/" not in key}
    run(server)
    assert {(r["alignment"], r["aligned"]) for r in stored(warehouse)} == {(None, None)}


def test_the_latest_scoring_decides_selection_and_tokens(warehouse, server):
    score(warehouse, "scores-2", 2, (5,), {5: ["e", "f"]})
    run(server)
    assert [(r["feature_id"], r["alignment"]) for r in stored(warehouse)] == [(5, 1.0)]


@pytest.mark.parametrize(
    "metadata", [{"neuronpedia_id": "tiny/4-other"}, {"hook_name": "blocks.3.hook_resid_post"}], ids=["id", "layer"]
)
def test_labels_of_another_variant_are_kept_but_not_believed(warehouse, server, said, metadata):
    folder = warehouse.artifact_path("saes", "w")
    folder.mkdir(parents=True)
    (folder / "cfg.json").write_text(json.dumps({"architecture": "topk", "metadata": metadata}))
    run(server)
    found = stored(warehouse)
    assert len(found) == 3
    assert {r["aligned"] for r in found} == {False}
    assert any("none trusted" in line for line in said)


def test_an_id_from_the_settings_serves_an_sae_without_one(warehouse, server):
    run(server, ids={2: NEURONPEDIA_ID})
    assert {r["sae"] for r in stored(warehouse)} == {LABELLED, LOCAL}
    with pytest.raises(InputError, match="not a Neuronpedia id"):
        run(server, ids={2: "nonsense"})


def test_an_sae_that_brings_a_malformed_id_is_one_line(warehouse, server, said):
    bad = row("saes", sae=LABELLED, layer=4, neuronpedia_id="no id", path="artifacts/saes/w", d_sae=8, trusted=True)
    save(warehouse, "saes", "saes-1", [], 0, saes=[bad])
    run(server)
    [line] = said
    assert "'no id' is not a Neuronpedia id" in line
    assert stored(warehouse) == []


def test_a_second_run_asks_nobody_and_another_setting_only_what_is_new(warehouse, server, said):
    run(server)
    asked = len(server.requests)
    run(server)
    assert len(server.requests) == asked
    assert any("is complete, skipped" in line for line in said)
    run(server, min_alignment=0.1)
    assert [path for path in server.paths()[asked:] if "list-type" not in path] == []


def test_an_unreachable_network_is_one_line_and_commits_nothing(warehouse, server, said):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        run(f"http://127.0.0.1:{free.getsockname()[1]}", ids={2: NEURONPEDIA_ID})
    [line] = said
    assert "continuing without explanations" in line
    assert "cannot be reached" in line
    assert rows(warehouse, "from stage_runs where stage = 'explain'") == []
    run(server)
    assert stored(warehouse)


def test_a_run_killed_between_files_fetches_only_the_rest(warehouse, server, said):
    key = f"v1/{NEURONPEDIA_ID}/features/batch-0.jsonl.gz"
    server.faults[f"/{key}"] = [Fault(500)]
    run(server)
    assert stored(warehouse) == []
    before = len(server.requests)
    run(server)
    assert [path for path in server.paths()[before:] if "list-type" not in path] == [f"/{key}"]
    assert len(stored(warehouse)) == 3


def test_a_damaged_file_leaves_that_sae_without_explanations_and_the_next_with_its_own(warehouse, server, said):
    server.faults[f"/v1/{NEURONPEDIA_ID}/explanations/batch-0.jsonl.gz"] = [Fault(200, b"cut")]
    run(server, ids={2: NEURONPEDIA_ID})
    assert {r["sae"] for r in stored(warehouse)} == {LABELLED}  # of layer 4: layer 2 came first
    assert any("batch-0.jsonl.gz" in line and line.startswith(LOCAL) for line in said)


def test_a_full_disk_ends_the_run(warehouse, server, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ato.io.response_cache.os.replace", full)
    with pytest.raises(DiskFullError):
        run(server)


def test_no_explanations_at_all_are_a_complete_stage_without_rows(warehouse, server, said):
    server.files = {}
    run(server)
    [done] = rows(warehouse, "select key, rows from stage_runs where stage = 'explain'")
    assert stage_problem(warehouse, "explain", done["key"]) is None
    assert stored(warehouse) == []


def test_answers_are_kept_within_a_local_warehouse_and_no_key_is_among_them(warehouse, server, monkeypatch):
    monkeypatch.setenv("NEURONPEDIA_API_KEY", "sk-very-secret")
    run(server, mode="api")
    folder = Path(warehouse.root)
    assert any((folder / "artifacts" / "neuronpedia").rglob("*"))
    assert not any(b"sk-very-secret" in p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_an_object_store_keeps_answers_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert explain.cache_folder(Warehouse("memory://bucket")) == tmp_path / "ato" / "neuronpedia"
