"""The causal check end to end on a tiny study: which rows land in the tables, and that the model itself gives them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ato.errors import DataError, LayerError, MismatchError, SettingsError
from ato.numerics.intervals import MIN_DOCUMENTS
from ato.operators import TransportOperator
from ato.text import TokenSequence
from flows.settings import Settings
from tasks.causal.task import measure_causal
from tasks.engine.model_cache import language_model
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage, pair_stages
from tasks.settings import CausalSettings
from tests.flows.tiny_study import tiny_settings
from tests.tasks.scored_study import add_sae, random_sae
from tests.warehouse.small_warehouse import COLLECTION, STARTED, row
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences, write_sequences
from warehouse.storage.manifests import PASSED, commit, manifests
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow

D, SEQ_LEN = 16, 32
FIVE = "3,9,14,20,25"
PAIRS = [(0, 2), (1, 2), (1, 3)]
"""Those of the tiny study that end at the layers 2 and 3 of its SAEs."""


def put_operator(warehouse: Warehouse, pair: PairStage, weights_hash: str) -> TransportOperator:
    """An operator near the identity, as the stage ``operators`` leaves it."""
    rng = np.random.default_rng(pair.source_layer)
    operator = TransportOperator(
        np.eye(D) + 0.1 * rng.normal(size=(D, D)),
        rng.normal(size=D),
        "ridge",
        *pair.layers,
        y_mean=rng.normal(size=D),
        weights_hash=weights_hash,
    )
    stage = pair.stage
    stage.add(warehouse.publish_artifact(operator.save, *pair.operator_path("ridge")))
    stage.write("operators", [row("operators", operator=pair.operator_key("ridge"), **pair.columns, rank=D)])
    commit_unchecked(warehouse, stage)
    return operator


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, SAE keys and operators; the warehouse is the one of the environment meanwhile."""
    folder: Path = tmp_path_factory.mktemp("causal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = tiny_settings(folder)
        own = language_model(settings.model).identity.weights_hash
        put_collection(Warehouse(), settings, own)
        causal = CausalSettings(n_sequences=6, positions=[FIVE, "10", "all"], n_features=2, batch_size=4)
        settings = settings.model_copy(update={"causal": causal})
        warehouse = Warehouse()
        keys = [add_sae(warehouse, COLLECTION, layer, random_sae(layer)) for layer in (2, 3)]
        for key, layer in zip(keys, (2, 3), strict=True):
            put_feature_stats(warehouse, key, layer)
        operators = {
            pair.layers: put_operator(warehouse, pair, own)
            for pair in pair_stages(settings.study(COLLECTION), settings.operators)
        }
        measure(settings, keys)
        yield settings, keys, operators


def put_collection(warehouse: Warehouse, settings: Settings, weights_hash: str) -> None:
    """Test sequences of random tokens, two a document, every fifth too short; residuals are not stored."""
    rng = np.random.default_rng(0)
    sequences = [
        TokenSequence(
            i, f"{i // 2:016x}", i // 2, "test", None, 0, rng.integers(3, 259, 20 if i % 5 == 4 else SEQ_LEN), ""
        )
        for i in range(20)
    ]
    collection = row(
        "collections",
        collection=COLLECTION,
        weights_hash=weights_hash,
        layers=[0, 1, 2, 3],
        median_norm=[1e6] * 4,
        seq_len=SEQ_LEN,
        d_model=D,
        n_layers=5,
        n_folds=3,
        site="resid_post",
        settings=settings.collect.model_dump_json(),
    )
    files = [
        write_sequences(warehouse, COLLECTION, 0, sequences),
        warehouse.write_rows("collections", [collection], COLLECTION, collection=COLLECTION),
    ]
    commit(
        warehouse,
        "collect",
        COLLECTION,
        collection=COLLECTION,
        settings={},
        files=files,
        quality=PASSED,
        started_at=STARTED,
        seconds=1.0,
    )


def put_feature_stats(warehouse: Warehouse, key: str, layer: int) -> None:
    """Feature 5 is the most active one, 3 never is."""
    counts = {0: 4, 3: 0, 5: 9, 7: 4}
    stage = Stage(warehouse, "features", f"stats-{layer}", settings={}, inputs=[key], collection=COLLECTION)
    stats = [
        row("feature_stats", layer=layer, feature_id=f, n_tokens=10, n_active=n, activation_rate=n / 10)
        for f, n in counts.items()
    ]
    stage.write("feature_stats", [s | {"sae": key} for s in stats], sae=key)
    commit_unchecked(warehouse, stage)


def commit_unchecked(warehouse: Warehouse, stage: Stage) -> None:
    """The manifest of a stage, without the checks of its tables."""
    commit(
        warehouse,
        stage.name,
        stage.key,
        collection=COLLECTION,
        inputs=stage.inputs,
        settings=stage.settings,
        files=stage.files,
        quality=PASSED,
        started_at=STARTED,
        seconds=1.0,
    )


def measure(settings: Settings, keys: list[str], **changes: object) -> None:
    causal = settings.causal.model_copy(update=changes)
    measure_causal.fn(settings.study(COLLECTION), keys, settings.operators, causal)


def measured() -> set[str]:
    return {run.key for run in manifests(Warehouse()) if run.stage == "causal" and run.quality == "passed"}


def test_every_pair_has_every_edit_of_every_full_length_sequence(study):
    held_out = stored_sequences(Warehouse(), COLLECTION, splits=["test"])
    full = {s.sequence_id for s in held_out if len(s.token_ids) == SEQ_LEN}
    assert 6 <= len(full) < len(held_out)
    whole = [(name, p) for name in study[0].causal.interventions for p in study[0].causal.positions]
    expected = {("none", "", None), *((*edit, None) for edit in whole)}
    expected |= {(name, "active", f) for name in ("feature_transport", "feature_zero") for f in (5, 0)}
    for source, target in PAIRS:
        found = rows(
            None,
            "select distinct intervention, positions, feature_id, sequence_id from causal_perplexity "
            "where source_layer = ? and target_layer = ?",
            [source, target],
        )
        assert {(r["intervention"], r["positions"], r["feature_id"]) for r in found} == expected
        assert len(found) == 6 * len(expected)
        assert {r["sequence_id"] for r in found} <= full


def test_rows_are_the_losses_of_the_edited_model(study):
    settings, _, operators = study
    model = language_model(settings.model)
    sequences = {s.sequence_id: s for s in stored_sequences(Warehouse(), COLLECTION)}
    positions = [3, 9, 14, 20, 25]
    found = rows(None, "from causal_perplexity where intervention in ('transport', 'zero') and positions = ?", [FIVE])
    assert len(found) == 2 * 6 * len(PAIRS)
    for r in found:
        ids = torch.tensor(sequences[r["sequence_id"]].token_ids, dtype=torch.long)[None]
        lengths = torch.tensor([SEQ_LEN])
        x = model.residuals(ids, lengths, [r["source_layer"]])[r["source_layer"]]
        y_hat = operators[r["source_layer"], r["target_layer"]](x) * (r["intervention"] == "transport")

        def edit(y: torch.Tensor, y_hat: torch.Tensor = y_hat) -> torch.Tensor:
            return torch.cat([y_hat[:, i : i + 1] if i in positions else y[:, i : i + 1] for i in range(SEQ_LEN)], 1)

        losses = model.token_losses(ids, lengths, edit, r["target_layer"])[0].double()
        assert r["log_ppl"] == pytest.approx(losses.mean().item(), rel=1e-5)
        assert r["log_ppl_edited_onwards"] == pytest.approx(losses[3:].mean().item(), rel=1e-5)
        assert (r["n_edited"], r["operator"][:5]) == (5, "ridge")
        assert r["document"] == sequences[r["sequence_id"]].document


def test_what_no_edit_touches_is_null_and_all_spares_what_the_collection_leaves_out(study):
    for r in rows(None, "from causal_perplexity"):
        nothing = r["n_edited"] == 0
        assert (r["kl"] is None) == (r["log_ppl_edited_onwards"] is None) == nothing
        assert nothing or r["intervention"] != "none"
    n_edited = rows(None, "select distinct n_edited from causal_perplexity where positions = 'all'")
    assert [r["n_edited"] for r in n_edited] == [SEQ_LEN - 1]


def check_limits(found, name):
    """Limits hold the value; below five documents there are none."""
    low, value, high = (found[name + end] for end in ("_low", "", "_high"))
    assert (low is None) == (high is None) == (found["n_documents"] < MIN_DOCUMENTS)
    assert low is None or low <= value <= high


def test_effects_are_the_paired_means_of_the_rows(study):
    paired = rows(
        None,
        """
        select e.evaluation, e.intervention, e.positions, e.feature_id, count(*) as n_sequences,
            count(distinct e.document) as n_documents, avg(e.log_ppl) as log_ppl,
            avg(e.log_ppl - u.log_ppl) as delta_log_ppl, avg(e.kl) as kl
        from causal_perplexity as e
        join causal_perplexity as u using (evaluation, sequence_id)
        where u.intervention = 'none' and e.n_edited > 0 group by all
    """,
    )
    names = ("evaluation", "intervention", "positions", "feature_id")
    effects = {tuple(r[name] for name in names): r for r in rows(None, "from causal_effects")}
    for truth in paired:
        found = effects[tuple(truth.pop(name) for name in names)]
        for name, value in truth.items():
            assert found[name] == pytest.approx(value, abs=1e-9)
        check_limits(found, "delta_log_ppl")
    unedited = [r for r in effects.values() if r["intervention"] == "none"]
    assert len(unedited) == 2 * len(PAIRS)
    assert {(r["delta_log_ppl"], r["kl"]) for r in unedited} == {(None, None)}
    for r in unedited:
        check_limits(r, "log_ppl")


def test_differences_are_paired_with_each_rival_on_the_same_sequences(study):
    paired = rows(
        None,
        """
        select t.evaluation, r.intervention as rival, t.positions, t.feature_id, count(*) as n_sequences,
            count(distinct t.document) as n_documents, avg(t.log_ppl - r.log_ppl) as difference,
            avg(t.kl - r.kl) as difference_kl
        from causal_perplexity as t
        join causal_perplexity as r using (evaluation, positions, sequence_id)
        where t.n_edited > 0 and t.feature_id is not distinct from r.feature_id
            and (t.intervention = 'transport' and r.intervention not in ('none', 'transport')
                or t.intervention = 'feature_transport' and r.intervention = 'feature_zero')
        group by all
    """,
    )
    names = ("evaluation", "rival", "positions", "feature_id")
    found = {
        (r["evaluation"], r["rival"], r["position_set"], r["feature_id"]): r
        for r in rows(None, "from causal_differences")
    }
    assert len(found) == len(paired) >= len(PAIRS) * 3 * 5
    for truth in paired:
        own = found[tuple(truth.pop(name) for name in names)]
        for name, value in truth.items():
            assert own[name] == pytest.approx(value, abs=1e-9)
        check_limits(own, "difference")
        assert 0 < own["p"] <= 1
    summary = rows(
        None, "from causal_summary where feature_id is null and intervention = 'identity' and difference is not null"
    )
    assert len(summary) == 3 * len(PAIRS)


def test_what_is_measured_is_not_measured_again_and_a_change_measures_only_what_depends_on_it(study):
    settings, keys, _ = study
    before = measured()
    assert len(before) == 2 * len(PAIRS)
    measure(settings, keys, batch_size=3)
    assert measured() == before
    measure(settings, keys, n_features=1)
    features = measured() - before
    assert len(features) == len(PAIRS)
    assert all(key.startswith("features-") for key in features)
    measure(settings, [], pairs=[(0, 1)], n_features=0)
    assert [key[:18] for key in measured() - before - features] == ["residuals-l00-k01-"]
    measure(settings, keys, positions=["10"], interventions=["zero"], n_features=0)
    assert len(measured() - before - features) == 1 + len(PAIRS)


def test_no_pair_at_an_saes_layer_measures_nothing(study, capsys):
    settings, _, _ = study
    before = measured()
    measure(settings, [])
    assert measured() == before
    assert "causal.pairs" in capsys.readouterr().err


def test_what_cannot_be_put_back_is_refused_with_the_cure(study, monkeypatch):
    settings, keys, _ = study
    with pytest.raises(SettingsError, match=r"rrr_features.*operators\.methods"):
        measure(settings, keys, method="rrr_features")
    with pytest.raises(LayerError, match=r"\(0, 4\).*source_layers"):
        measure(settings, keys, pairs=[(0, 4)])
    with pytest.raises(DataError, match=r"position 31.*causal\.positions"):
        measure(settings, keys, positions=["10,31"])
    operators = settings.operators.model_copy(update={"position_policy": "previous"})
    with pytest.raises(SettingsError, match=r"previous.*position_policy=same"):
        measure(settings.model_copy(update={"operators": operators}), keys)
    monkeypatch.setattr(Study, "row", replace(settings.study(COLLECTION).row, site="mlp_out"))
    with pytest.raises(MismatchError, match=r"mlp_out.*site=resid_post"):
        measure(settings, keys)


def test_an_operator_of_another_model_or_pair_is_refused(study, monkeypatch):
    settings, keys, operators = study
    for change, message in (({"weights_hash": "0000"}, "another model"), ({"source_layer": 1}, "used for 0 -> 2")):
        wrong = replace(operators[0, 2], **change)
        monkeypatch.setattr(PairStage, "load", lambda self, method, wrong=wrong: wrong)
        with pytest.raises(MismatchError, match=message):
            measure(settings, keys, n_sequences=2, pairs=[(0, 2)])
