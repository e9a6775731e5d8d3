"""The pipeline as a whole, on a tiny model: what it leaves behind, what it skips, what it refuses."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ato.errors import (
    CorpusError,
    DataError,
    DiskFullError,
    InputError,
    ModelError,
    NonFiniteError,
    SAEError,
    SettingsError,
)
from ato.operators import load_operator
from flows.engine.running import complete_result
from flows.evaluate import evaluate
from flows.pipeline import pipeline
from flows.settings import Settings
from flows.stages import STAGES
from tasks.engine.model_cache import language_model
from tests.flows.forked_stages import SMALL
from tests.flows.tiny_study import tiny_settings
from tests.tiny_models import save_tiny_model
from tests.warehouse.on_demand import ON_DEMAND
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.query import run_select
from warehouse.quality import checks
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module")
def timed(tmp_path_factory, prefect_server):
    """The first run of a study, with its wall time, and the stage runs that it left."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "data" / "warehouse"))
        settings = tiny_settings(folder)
        started = time.monotonic()
        collection = pipeline(settings)
        seconds = time.monotonic() - started
        runs = rows(None, "from stage_runs")
        yield SimpleNamespace(folder=folder, settings=settings, collection=collection, seconds=seconds, runs=runs)


@pytest.fixture(scope="module")
def study(timed):
    """A finished study: its folder, settings and collection key; ATO_WAREHOUSE points at it while the module runs."""
    return timed.folder, timed.settings, timed.collection


def changed(settings: Settings, **stages: dict) -> Settings:
    """The same settings with some values of some stages replaced."""
    values = settings.model_dump()
    return Settings.model_validate({name: inner | stages.get(name, {}) for name, inner in values.items()})


def files(folder: Path) -> dict[Path, int]:
    """When each file of a study was written, but for the published catalog."""
    return {p: p.stat().st_mtime_ns for p in (folder / "data" / "warehouse").rglob("*.*") if p.suffix != ".duckdb"}


def test_every_table_has_rows_and_passes_every_check(study):
    # Other position policies, published SAEs, benchmarks and studies on demand have tables of their own.
    elsewhere = {"attended", "explanations", "benchmark_results", *(table.name for table in ON_DEMAND)}
    for name in TABLES.keys() - elsewhere:
        assert rows(None, f"select count(*) as n from {name}")[0]["n"] > 0, name
    assert checks.failures(checks.check_all(Warehouse())) == []


def test_shares_of_the_scaling_study_are_those_of_the_tokens_and_documents_behind_them(study):
    _, settings, _ = study
    train = """select count(*) as n_tokens, count(distinct document) as n_documents
    from activations join sequences using (collection, sequence_id) where split = 'train' and layer = 0"""
    (whole,) = rows(None, train)
    found = rows(None, "from scaling_curves order by source_layer, target_layer, fraction_asked")
    assert {row["fraction_asked"] for row in found} == set(settings.operators.train_fractions)
    for row in found:
        assert row["fraction"] == row["n_train"] / whole["n_tokens"]
        assert row["fraction_documents"] == row["n_train_documents"] / whole["n_documents"]
    assert any(abs(row["fraction"] - row["fraction_asked"]) > 0.01 for row in found)  # documents are taken whole


def test_scores_lie_below_ceilings_of_the_same_tokens(study):
    (found,) = rows(
        None,
        """select count(*) as n, count(ceiling_low) as n_bounded, avg((r2 > ceiling_high)::int) as above,
            count(*) filter (where not ceiling between ceiling_low and ceiling_high) as outside
        from feature_transport where ceiling is not null""",
    )
    assert found["n"] > 20
    assert found["n_bounded"] == found["n"]
    assert found["outside"] == 0
    assert found["above"] <= 0.05


def test_the_seconds_of_all_stage_runs_are_the_wall_time_of_the_run(timed):
    """The server is there before the run; what remains are Prefect's ends of flows and what comes after the report."""
    assert 0.9 * timed.seconds <= sum(run["seconds"] for run in timed.runs) <= timed.seconds
    batches = {run["batch"]: run for run in timed.runs}
    assert sum(run["batch_seconds"] for run in batches.values()) == pytest.approx(
        sum(run["seconds"] for run in timed.runs)
    )
    for batch in batches:
        own = [run for run in timed.runs if run["batch"] == batch]
        assert {run["batch_stages"] for run in own} == {len(own)}
        assert len({run["batch_seconds"] for run in own}) == 1
    assert all(run["cpu_seconds"] >= 0 and run["peak_memory"] > 1e7 for run in timed.runs)


def test_the_model_is_run_once_over_each_token_for_all_consumers(study):
    _, _, collection = study
    (row,) = rows(None, "select c.n_tokens, r.tokens_run from collections c join stage_runs r on r.key = c.collection")
    assert row["tokens_run"] == row["n_tokens"]
    others = rows(None, "select distinct stage from stage_runs where tokens_run > 0 and key != ?", [collection])
    # An SAE spliced in, a feature ablated, a residual replaced: other questions, asked of the blocks above the edit.
    assert sorted(o["stage"] for o in others) == ["causal", "feature_scores", "saes"]


def test_a_second_run_computes_and_writes_nothing(study):
    folder, settings, collection = study
    before = files(folder)
    assert pipeline(settings) == collection
    assert files(folder) == before


def test_a_look_finds_a_finished_study_complete_without_a_server_or_a_model(study, monkeypatch):
    folder, settings, collection = study
    before = files(folder)
    for module in ("flows.engine.stage_run.get_client", "tasks.engine.model_cache.deepcopy", "prefect.Flow.__call__"):
        monkeypatch.setattr(module, lambda *_, **__: pytest.fail("a look needs none"))
    language_model.cache_clear()
    monkeypatch.setattr("ato.models.load_model", lambda *_, **__: pytest.fail("a look loads no model"))
    for flow in (name for name, stage in STAGES.items() if not stage.on_demand):
        assert complete_result(flow, settings)[0], flow
    assert complete_result("pipeline", settings) == (True, collection)
    assert files(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        {"saes": {"seed": 9}},
        {"operators": {"alphas": [0.5]}},
        {"causal": {"n_sequences": 5}},
        {"report": {"png": False}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_look_does_no_work_where_something_is_left_to_do(study, change):
    folder, settings, _ = study
    before = files(folder)
    assert complete_result("pipeline", changed(settings, **change)) == (False, None)
    assert files(folder) == before


def test_a_look_that_ends_in_an_error_says_how_far_it_came(study, capsys, tmp_path):
    _, settings, collection = study
    with pytest.raises(SAEError, match=str(tmp_path)):
        complete_result("pipeline", changed(settings, saes={"paths": {2: str(tmp_path)}}))
    assert f"{collection} is complete, skipped" in capsys.readouterr().err.replace("\n", " ")


def test_with_a_server_at_hand_every_run_is_one_of_its_runs(study, monkeypatch):
    _, settings, _ = study
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert complete_result("pipeline", settings) == (False, None)


def test_counts_add_up_over_tables(study):
    (row,) = rows(None, "select * from collections")
    assert row["n_kept"] + sum(row["dropped_by_reason"].values()) == row["n_tokens"]
    assert rows(None, "select sum(n_tokens)::bigint as n from sequences")[0]["n"] == row["n_tokens"]
    per_layer = rows(None, "select layer, count(*) as n from activations group by layer")
    assert {r["layer"]: r["n"] for r in per_layer} == dict.fromkeys(row["layers"], row["n_kept"])


def test_every_operator_stands_beside_the_identity_and_the_mean_on_the_same_tokens(study):
    found = rows(
        None,
        "select source_layer, target_layer, list(method order by method) as m, count(distinct n_test) as n "
        "from operators group by all",
    )
    assert len(found) == 4
    for pair in found:
        assert {"identity", "mean", "ridge"} <= set(pair["m"])
        assert pair["n"] == 1


def test_a_feature_with_few_active_tokens_has_null_scores_and_no_verdict(study):
    few = rows(None, "select distinct r2, skill, verdict from feature_transport where n_active < 30")
    assert all(row["r2"] is None and row["skill"] is None and row["verdict"] == "undetermined" for row in few)


def test_scores_are_those_of_the_operator_file_on_the_stored_residuals(study):
    (row,) = rows(None, "from operators where method = 'ridge' and source_layer = 0 and leap = 2")
    operator = load_operator(Warehouse().artifact_path(*row["path"].split("/")[1:]))
    pairs = (
        connect()
        .sql(
            "select x.residual as x, y.residual as y from activations x join activations y using (collection, sequence_id, position) "
            "join sequences s using (collection, sequence_id) where x.layer = 0 and y.layer = 2 and s.split = 'test'"
        )
        .fetchnumpy()
    )
    x, y = (np.stack(list(pairs[name])).astype(float) for name in ("x", "y"))
    sse, sst = ((y - operator(x)) ** 2).sum(0), ((y - y.mean(0)) ** 2).sum(0)
    assert row["n_test"] == len(x)
    assert row["r2_test"] == pytest.approx((1 - sse / sst).mean(), abs=1e-5)
    assert row["r2_weighted"] == pytest.approx(1 - sse.sum() / sst.sum(), abs=1e-5)


def test_the_registered_best_version_predicts_the_numbers_of_the_operator(study, monkeypatch):
    import mlflow

    from warehouse.registry.registry import Registry

    uri = Registry(Warehouse().root).uri
    (best,) = rows(
        None,
        "select path, registry_uri from operators where source_layer = 1 and leap = 1 "
        "and registry_uri is not null order by r2_val desc limit 1",
    )
    name = best["registry_uri"].split("/")[1]
    mlflow.set_tracking_uri(uri)
    x = np.random.default_rng(0).standard_normal((7, 16))
    served = mlflow.pyfunc.load_model(f"models:/{name}@best").predict(x)
    assert np.array_equal(served, load_operator(Warehouse().artifact_path(*best["path"].split("/")[1:]))(x))


def test_another_number_of_tokens_makes_a_collection_beside_the_first(study):
    _, settings, collection = study
    second = pipeline(changed(settings, **SMALL, collect={"n_tokens": 6_000}))
    assert second != collection
    found = rows(
        None, "select collection, r2_test from operators where method = 'ridge' and source_layer = 0 and leap = 1"
    )
    assert {row["collection"] for row in found} == {collection, second}


def test_a_run_that_stores_no_activations_gives_the_same_scores(study):
    _, settings, collection = study
    live = pipeline(
        changed(
            settings,
            **{name: SMALL[name] for name in ("features", "causal", "report")},
            collect={"store_activations": False},
        )
    )
    query = "select source_layer, leap, method, r2_test, r2_update from operators where collection = ? order by all"
    stored, lived = (rows(None, query, [key]) for key in (collection, live))
    assert len(stored) == len(lived) > 0
    for a, b in zip(stored, lived):
        assert a["r2_test"] == pytest.approx(b["r2_test"], abs=1e-5)
    assert rows(None, "select count(*) as n from activations where collection = ?", [live]) == [{"n": 0}]


def test_another_threshold_makes_another_evaluation_and_the_map_shows_the_latest(study):
    _, settings, collection = study
    evaluate(changed(settings, evaluate={"min_active": 60}), collection, None, None)
    n = "select count(distinct evaluation) as n from feature_transport where collection = ?"
    latest = "select count(*) as n from transport_map where is_latest and collection = ? and method = 'ridge'"
    assert rows(None, n, [collection])[0]["n"] == 2 * rows(None, latest, [collection])[0]["n"]


def test_the_identity_scores_the_same_whether_it_is_judged_before_or_after_a_trained_operator(study):
    _, settings, collection = study
    scores = "select feature_id, source_layer, target_layer, sae, r2, r2_low, skill, pearson, mse, verdict from feature_transport"
    judged = []
    for methods in (["identity", "ridge"], ["ridge", "identity"]):
        evaluate(changed(settings, operators={"methods": methods}), collection, None, None)
        runs = rows(
            None, "select key, settings from stage_runs where stage = 'operators' and collection = ?", [collection]
        )
        pairs = [run["key"] for run in runs if json.loads(run["settings"])["methods"] == methods]
        judged.append(
            {
                method: rows(
                    None,
                    f"{scores} where method = ? and list_contains(?, split_part(operator, method || '-', 2)) order by all",
                    [method, pairs],
                )
                for method in methods
            }
        )
    first, second = judged
    assert len(first["identity"]) > 0
    assert first["identity"] == second["identity"]
    assert first["ridge"] == second["ridge"]
    assert first["identity"] != first["ridge"]


def test_where_no_feature_is_active_often_enough_scores_are_null_and_it_is_said(study, capsys):
    _, settings, collection = study
    evaluate(changed(settings, evaluate={"min_active": 100_000}), collection, None, None)
    assert "is active on 100000 test tokens, scores are NULL" in capsys.readouterr().err.replace("\n", " ")
    (found,) = rows(
        None, "select count(*) as n, count(mean_r2) as averages from transport_map where n_features_scored = 0"
    )
    assert found["n"] > 0
    assert found["averages"] == 0


def test_an_sae_below_every_pair_is_judged_and_disturbs_no_pair(study):
    _, settings, _ = study
    stages = SMALL | {"collect": {"n_tokens": 6_000}, "saes": SMALL["saes"] | {"layers": [0, 3]}}
    stages["operators"] = SMALL["operators"] | {"source_layers": [1], "leaps": [2]}
    collection = pipeline(changed(settings, **stages))
    scored = rows(None, "select distinct target_layer from feature_transport where collection = ?", [collection])
    assert scored == [{"target_layer": 3}]


@pytest.mark.parametrize(
    ("stages", "error", "message"),
    [
        ({"model": {"name": "no-such/model"}}, ModelError, "no-such/model"),
        ({"operators": {"source_layers": [0, 9]}}, SettingsError, "layers 0 to 4"),
        ({"operators": {"leaps": [1, 2, 4]}}, SettingsError, "1 + 4 is behind the last layer"),
        ({"saes": {"layers": [17]}}, SettingsError, "17"),
        ({"saes": {"paths": {2: "/nonexistent/sae"}}}, SettingsError, "/nonexistent/sae"),
        ({"collect": {"corpus": "/nonexistent/corpus.txt"}}, SettingsError, "/nonexistent/corpus.txt"),
        ({"collect": {"n_folds": 50}}, CorpusError, "too few"),
        ({"operators": {"rank": 400}}, InputError, "rank"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_earlier_results_whole(study, stages, error, message):
    folder, settings, _ = study
    before, written = rows(None, "select stage, key from stage_runs order by all"), files(folder)
    with pytest.raises(error) as caught:
        pipeline(changed(settings, **stages))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    kept = rows(None, "select stage, key from stage_runs order by all")
    assert [row for row in kept if row in before] == before
    assert written.items() <= files(folder).items()


def test_bad_text_is_named_with_its_file(study, tmp_path):
    _, settings, _ = study
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes("Präsident".encode("latin-1"))
    for name in ("empty.txt", "latin.txt"):
        with pytest.raises(CorpusError, match=name):
            pipeline(changed(settings, collect={"corpus": str(tmp_path / name)}))


def test_fewer_tokens_than_dimensions_are_allowed_and_flagged(study, tmp_path):
    _, settings, _ = study
    few = {"n_tokens": 900, "seq_len": 9, "min_len": 8, "max_sequences_per_document": 1, "n_folds": 2}
    save_tiny_model(tmp_path / "wide", n_layers=3, d_model=512)
    collection = pipeline(
        changed(
            settings,
            model={"name": str(tmp_path / "wide")},
            collect=few,
            features=SMALL["features"],
            causal=SMALL["causal"],
            report=SMALL["report"],
            operators={"source_layers": [0], "leaps": [1]},
            saes={"layers": [1], "batch_size": 64, "buffer_rows": 256},
            evaluate={"ranks": [1, 8, 512]},
        )
    )
    (row,) = rows(None, "from collections where collection = ?", [collection])
    assert row["fewer_tokens_than_dimensions"]
    flags = rows(None, "select distinct few_tokens from operators where collection = ?", [collection])
    assert flags == [{"few_tokens": True}]


def test_nan_in_residuals_stops_the_run_and_names_the_token(study, monkeypatch):
    from ato.models import LanguageModel

    _, settings, _ = study
    real = LanguageModel.read

    def poisoned(self, ids, lengths, layers, *, keep, **options):
        def keep_poisoned(layer, stream):
            if layer == max(layers):
                stream = stream.clone()
                stream[0, 3, 1] = float("nan")
            return keep(layer, stream)

        return real(self, ids, lengths, layers, keep=keep_poisoned, **options)

    language_model(settings.model)  # loaded before its residuals are poisoned: the self-check would refuse it
    monkeypatch.setattr(LanguageModel, "read", poisoned)
    with pytest.raises(NonFiniteError, match=r"layer 3.*sequence \d+, position 3"):
        pipeline(changed(settings, collect={"n_tokens": 5_000}))


def test_a_cut_file_is_reported_and_rebuilt_by_the_next_run(study):
    _, settings, collection = study
    run, *_ = rows(None, "select files from stage_runs where stage = 'features' and collection = ?", [collection])
    victim = next(f["path"] for f in run["files"] if f["table_name"] == "feature_stats")
    path = Path(Warehouse().root) / victim
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged file"):
        run_select(connect(), "select count(*) from feature_stats")
    assert run_select(connect(), "select count(*) from operators").fetchall()[0][0] > 0
    assert pipeline(settings) == collection
    assert path.read_bytes() == whole


def test_a_full_disk_is_one_line_and_the_next_run_finishes(study, monkeypatch):
    import errno

    from warehouse.storage import local_storage

    _, settings, _ = study
    smaller = changed(settings, **SMALL, collect={"n_tokens": 7_000})
    sync, left = local_storage.sync, [9]

    def full(path):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(local_storage, "sync", full)
    with pytest.raises(DiskFullError, match="free some space"):
        pipeline(smaller)
    monkeypatch.setattr(local_storage, "sync", sync)
    assert pipeline(smaller)
    assert checks.failures(checks.check_all(Warehouse())) == []


def test_a_warehouse_of_another_schema_is_refused(study, tmp_path, monkeypatch):
    _, settings, _ = study
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "warehouse.json").write_text(json.dumps({"schema_version": 999}))
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "w"))
    with pytest.raises(DataError, match="schema 999"):
        pipeline(settings)
