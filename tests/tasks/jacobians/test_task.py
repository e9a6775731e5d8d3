"""The stage ``jacobians`` on a tiny model, and the operators that are made of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError, QualityError, SettingsError
from ato.jacobians import JacobianSums, ProbePlan, document_jacobians, load_lens
from ato.models import pad
from flows.commands.export_jacobians import export_jacobians
from flows.judging.jacobians import judge
from flows.judging.operators import judge as judge_operators
from tasks.collect.task import collect_residuals
from tasks.engine.model_cache import language_model
from tasks.evaluate.task import evaluate_operators
from tasks.jacobians.parts import document_parts
from tasks.jacobians.stages import jacobian_stages
from tasks.jacobians.task import measure_jacobians
from tasks.operators.pairs import pair_stages
from tasks.operators.task import fit_operators
from tests.flows.tiny_study import tiny_settings
from tests.tasks.scored_study import add_sae, random_sae
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import document_sequences
from warehouse.quality.checks import check_all, failures
from warehouse.storage.warehouse import Warehouse
from warehouse.tables.jacobians import TABLES

PAIRS = [(0, 2), (1, 2), (1, 4)]
OPERATORS = {"source_layers": [0, 1], "leaps": [1, 2, 3], "target_layers": [2, 4], "train_fractions": []}
JACOBIANS = {"n_tokens": 2_500, "probes": 5, "documents_per_part": 4, "tolerance": 0.0}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A collection whose Jacobians were measured; ATO_WAREHOUSE points at it while the module runs."""
    folder = tmp_path_factory.mktemp("jacobians")
    methods = ["ridge", "jacobian", "identity"]
    own = OPERATORS | {"methods": methods, "register_operators": False, "permutation_null": False}
    settings = tiny_settings(
        folder, collect={"n_tokens": 6_000, "store_activations": False}, operators=own, jacobians=JACOBIANS
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        key = collect_residuals.fn(settings.model, settings.collecting, [0, 1, 2, 3, 4], settings.operators)
        measure_jacobians.fn(settings.study(key), PAIRS)
        yield SimpleNamespace(folder=folder, settings=settings, collection=key, study=settings.study(key))


def changed(base: SimpleNamespace, **jacobians):
    """The study with other settings of the stage."""
    own = base.settings.jacobians.model_copy(update=jacobians)
    return base.settings.model_copy(update={"jacobians": own}).study(base.collection)


def matrices(study, pairs=PAIRS):
    return {of.layers: of.mean() for of in jacobian_stages(study, pairs)}


def curves(study, pairs=PAIRS):
    """Pair -> rows of ``jacobian_convergence`` in order."""
    keys = {of.stage.key: of.layers for of in jacobian_stages(study, pairs)}
    names = "part, n_tokens, n_documents, change, relative_error"
    found = rows(None, f"select jacobian, {names} from jacobian_convergence order by part")
    return {
        pair: [{name: row[name] for name in names.split(", ")} for row in found if row["jacobian"] == key]
        for key, pair in keys.items()
    }


def test_it_is_the_mean_over_the_kept_tokens_of_train_documents_by_hand(base):
    lm, plan = language_model(base.settings.model), ProbePlan(5)
    train = {row["document"] for row in rows(None, "from sequences where split = 'train'")}
    chosen = [document for part in document_parts(base.study) for document in part]
    assert set(chosen) < train
    assert len(set(chosen)) == len(chosen)
    (of,) = jacobian_stages(base.study, [(0, 2)])
    sums, norms = JacobianSums.empty(16, 16), base.study.row.median_norms
    for document in chosen:
        sequences = document_sequences(Warehouse(), base.collection, document)
        ids, lengths = pad([sequence.token_ids for sequence in sequences])
        residuals = lm.residuals(ids, lengths, range(5))
        keep = torch.arange(ids.shape[1])[None] < lengths[:, None]
        keep[:, 0] = False
        for layer, norm in norms.items():
            keep &= residuals[layer].norm(dim=-1) <= 10 * norm
        for token in lm.special_token_ids:
            keep &= ids != token
        row, position = (part.numpy() for part in keep.nonzero(as_tuple=True))
        number = np.array([sequence.sequence_id for sequence in sequences])[row]
        (one,) = document_jacobians(lm, (ids, lengths), (row, number, position), [(0, 2)], plan).values()
        sums.update(one.rows, one.count, len(row))
    (stored,) = rows(None, "from jacobians where jacobian = ?", [of.stage.key])
    assert (stored["n_tokens"], stored["n_documents"]) == (sums.n_tokens, len(chosen))
    np.testing.assert_allclose(of.mean(), sums.mean(), rtol=1e-6, atol=1e-6)
    assert stored["relative_error"] == pytest.approx(sums.relative_error(), rel=1e-4)
    assert stored["norm"] == pytest.approx(np.linalg.norm(of.mean()))
    assert stored["converged"] is False


def test_the_running_mean_settles_and_its_error_falls(base):
    for points in curves(base.study).values():
        assert [point["part"] for point in points] == list(range(len(points)))
        assert len(points) == len(document_parts(base.study)) > 3
        assert points[0]["change"] is None
        assert points[-1]["change"] < points[2]["change"]
        assert points[-1]["relative_error"] < points[1]["relative_error"]


def test_a_pair_stops_at_its_own_first_part_within_the_tolerance_whoever_measures_beside_it(base):
    whole = curves(base.study)
    tolerance = sorted(points[2]["relative_error"] for points in whole.values())[1]
    loose = changed(base, tolerance=tolerance)
    measure_jacobians.fn(loose, PAIRS)
    for pair, points in curves(loose).items():
        inside = [i for i, point in enumerate(whole[pair]) if point["relative_error"] <= tolerance]
        assert points == whole[pair][: (inside[0] + 1 if inside else None)]
    alone = changed(base, tolerance=tolerance, seed=1)
    measure_jacobians.fn(alone, [(1, 4)])
    before = matrices(alone, [(1, 4)])[1, 4]
    measure_jacobians.fn(changed(base, tolerance=tolerance, seed=1), PAIRS)
    assert np.array_equal(matrices(alone)[1, 4], before)


def test_several_tasks_give_what_one_gives(base, monkeypatch):
    from tasks.jacobians.parts import measure_part

    def here(stage, part, shares, *arguments):
        for share in reversed(shares):
            measure_part(share, *arguments)

    monkeypatch.setattr("tasks.jacobians.task.run_parts", here)
    other = changed(base, tolerance=1e-9)  # another key, the same sums
    measure_jacobians.fn(other, PAIRS, 3)
    for pair, matrix in matrices(other).items():
        assert np.array_equal(matrix, matrices(base.study)[pair])


def test_a_killed_run_goes_on_behind_the_parts_that_it_had_and_leaves_none_behind(base, monkeypatch):
    from tasks.jacobians import parts

    ran, study = [], changed(base, tolerance=1e-8)
    true = parts.document_jacobians

    def counted(*args):
        ran.append(1)
        if len(ran) == 10:  # in the third part of four documents
            raise KeyboardInterrupt
        return true(*args)

    monkeypatch.setattr(parts, "document_jacobians", counted)
    with pytest.raises(KeyboardInterrupt):
        measure_jacobians.fn(study, PAIRS)
    assert rows(None, "from jacobians where jacobian = ?", [jacobian_stages(study, PAIRS)[0].stage.key]) == []
    study = changed(base, tolerance=1e-8)
    measure_jacobians.fn(study, PAIRS)
    n_documents = sum(map(len, document_parts(study)))
    assert len(ran) == n_documents + 2, "nine done, the tenth failed, two of its part again"
    for pair, matrix in matrices(study).items():
        assert np.array_equal(matrix, matrices(base.study)[pair])
    left = Warehouse().storage.names(f"artifacts/collections/{base.collection}")
    assert not [name for name in left if jacobian_stages(study, PAIRS)[0].stage.key in name]


def test_what_is_complete_is_not_measured_again(base, monkeypatch):
    monkeypatch.setattr("tasks.jacobians.parts.language_model", lambda _: pytest.fail("nothing is left to measure"))
    keys = measure_jacobians.fn(base.settings.study(base.collection), PAIRS)
    assert keys == [of.stage.key for of in jacobian_stages(base.study, PAIRS)]


def test_operators_of_jacobians_stand_beside_ridge_in_every_table_of_the_evaluation(base):
    study, operators = base.study, base.settings.operators
    sae = add_sae(Warehouse(), base.collection, 2, random_sae(2))
    with pytest.raises(InputError, match="ato run jacobians"):
        fit_operators.fn(changed(base, seed=5), [], operators)
    measure_jacobians.fn(study, operators.pairs)
    fit_operators.fn(study, [sae], operators)
    found = {(row["source_layer"], row["target_layer"], row["method"]): row for row in rows(None, "from operators")}
    assert set(found) == {(*pair, method) for pair in operators.pairs for method in operators.methods}
    for pair in pair_stages(study, operators):
        operator, row = pair.load("jacobian"), found[(*pair.layers, "jacobian")]
        np.testing.assert_array_equal(operator.matrix, matrices(study, operators.pairs)[pair.layers])
        np.testing.assert_allclose(operator.bias, operator.y_mean - operator.matrix @ operator.x_mean)
        operator.check_model(study.row.weights_hash)
        assert (row["alpha"], row["rank"]) == (None, None)
        assert row["r2_train"] <= found[(*pair.layers, "ridge")]["r2_train"] + 1e-3, "least squares is best on train"
        assert row["r2_test"] is not None
    evaluate_operators.fn(study, [sae], operators, base.settings.evaluate)
    judged = rows(None, "select method, evaluation, count(*) as n from feature_transport group by all order by all")
    assert {row["method"] for row in judged} == set(operators.methods)
    assert len({row["evaluation"] for row in judged}) == 2, "a pair's methods share an evaluation"
    compared = rows(None, "select distinct method, against_method from feature_transport_differences")
    assert {("jacobian", "identity"), ("ridge", "jacobian")} <= {tuple(row.values()) for row in compared}
    spectra = rows(None, "select count(*) as n from operator_spectra where method = 'jacobian'")
    assert spectra == [{"n": 16 * len(operators.pairs)}]


def test_exported_files_come_back_as_the_same_operators(base, tmp_path):
    paths = export_jacobians(base.collection, tmp_path / "lenses", layer=4)
    assert [path.name for path in paths] == ["jacobian_lens_4.pt"]
    lens = load_lens(paths[0])
    assert 1 in lens.matrices
    imported = changed(base, lens=str(paths[0]))
    measure_jacobians.fn(imported, [(1, 4)])
    np.testing.assert_allclose(matrices(imported, [(1, 4)])[1, 4], lens.matrices[1])
    (row,) = rows(None, "from jacobians where source <> 'model'")
    assert (row["n_documents"], row["positions"], row["source"]) == (lens.n_prompts, "later", str(paths[0]))
    assert all(row[name] is None for name in ("n_tokens", "relative_error", "probes", "seconds", "converged"))
    with pytest.raises(SettingsError, match="0 -> 2") as refused:
        measure_jacobians.fn(changed(base, lens=str(paths[0])), [(0, 2)])
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="target layer 3"):
        export_jacobians(base.collection, tmp_path, layer=3)
    with pytest.raises(InputError, match="ato run jacobians"):
        export_jacobians("none", tmp_path)


def test_rows_are_checked_and_those_that_contradict_each_other_stay_out_of_every_table(base):
    found = check_all(Warehouse())
    assert failures(found) == []
    looked_at = {(row["table_name"], row["expectation"]) for row in found if row["n_checked"]}
    assert {(table.name, rule.expectation) for table in TABLES for rule in table.rules} <= looked_at
    (of,) = jacobian_stages(base.study, [(0, 2)])
    wrong = {"jacobians": {"positions": "all"}, "jacobian_convergence": {"part": 0}}
    for table, changes in wrong.items():
        row = rows(None, f"from {table} where jacobian = ? limit 1", [of.stage.key])[0]
        with pytest.raises(QualityError), base.study.stage("jacobians", table, settings={}) as stage:
            stage.write(table, [row | changes | {"jacobian": f"wrong-{table}"}])
        assert rows(None, f"from {table} where jacobian = 'wrong-{table}'") == []


def test_another_model_and_another_site_are_refused(base):
    from tests.tiny_models import save_tiny_model

    other = save_tiny_model(base.folder / "other", n_layers=5, d_model=16, seed=1)
    settings = base.settings.model_copy(update={"model": base.settings.model.model_copy(update={"name": str(other)})})
    with pytest.raises(MismatchError):
        measure_jacobians.fn(settings.study(base.collection), [(0, 1)])


def test_settings_that_cannot_work_are_named(base):
    from ato.models.shapes import ModelShape

    def faults(*values, judge=judge):
        settings = tiny_settings(base.folder, **dict(values))
        return {fault.setting for fault in judge(settings, shape)}

    shape = ModelShape(5, 16, 10_000, 264)
    assert faults() == set()
    assert faults(("collect", {"site": "mlp_out"})) == {"collect.site"}
    assert faults(("jacobians", {"n_tokens": 3, "probes": 2})) == {"jacobians.n_tokens"}
    assert faults(("jacobians", {"lens": "none.pt"})) == {"jacobians.lens"}
    methods = {"methods": ["ridge", "jacobian"]}
    assert faults(("operators", methods), judge=judge_operators) == set()
    assert "operators.methods" in faults(
        ("operators", methods | {"position_policy": "previous"}), judge=judge_operators
    )
    assert "operators.methods" in faults(
        ("operators", methods), ("collect", {"site": "mlp_out"}), judge=judge_operators
    )
