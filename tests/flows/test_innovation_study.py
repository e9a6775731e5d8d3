"""Innovation SAEs in the flow ``sae_study``, on a tiny model: trained, judged, chained, and kept apart from SAEs."""

from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from ato.errors import InputError, SAEError
from ato.operators import load_operator
from ato.sae_studies.innovation_files import load_innovation_sae
from ato.saes import load_sae
from flows.cli import app
from flows.sae_study import sae_study
from tasks.collect.sources import residual_source
from tasks.report.panels import open_scope
from tasks.report.sae_study import panels
from tasks.sae_study import operators
from tasks.sae_study.operators import with_operators
from tasks.sae_study.stages import SAEStudy
from tasks.sae_study.task import study_saes
from tasks.steering.saes import sae_of
from tests.dashboards.opened_pages import check_numbers, open_page
from tests.flows.planted_sae_study import STUDY, small_study
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import studied_rows
from warehouse.storage.warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

MADE = {"architecture": "topk", "d_sae": 24, "k": 3}
INNOVATIONS = [MADE | {"layer": 2, "source_layer": 1}, MADE | {"layer": 3, "source_layer": 2}]
PLAIN = [MADE | {"layer": layer} for layer in (1, 2, 3)] + [MADE | {"layer": layer, "d_sae": 32} for layer in (2, 3)]
LOOKED_AT = MADE | {"layer": 3, "source_layer": 1, "seed": 1, "method": "identity"}
LOOKS = STUDY["looking"] | {"seeds": [1], "attribution_sequences": 1, "attribution_features": 2}


@pytest.fixture(scope="module")
def study(tmp_path_factory, prefect_server):
    """The flow's first run, which fits the operators that it needs."""
    folder = tmp_path_factory.mktemp("innovations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "data" / "warehouse"))
        training = STUDY["training"] | {"n_tokens": 2_048, "n_snapshots": 1}
        saes = [*INNOVATIONS, *PLAIN, LOOKED_AT]
        settings = small_study(folder, architectures=[], saes=saes, looking=LOOKS, training=training)
        operators = {
            "source_layers": [1, 2],
            "leaps": [1, 2],
            "methods": ["ridge", "identity"],
            "register_operators": False,
        }
        settings = settings.model_copy(update={"operators": settings.operators.model_copy(update=operators)})
        key = sae_study(settings)
        (collection,) = {row["collection"] for row in rows(None, "select collection from sae_studies")}
        yield SimpleNamespace(settings=settings, key=key, collection=collection)


def of(study: SimpleNamespace, **changes: object) -> SAEStudy:
    """The innovation SAEs of the study by ridge with other settings, and their baselines."""
    listed = study.settings.sae_study.saes
    saes = [one.model_copy(update=changes) for one in listed if one.is_innovation and one.method == "ridge"]
    settings = study.settings.sae_study.model_copy(update={"saes": saes, "layers": []})
    whole = study.settings.study(study.collection)
    return SAEStudy(whole, with_operators(whole, settings, study.settings.operators))


def loaded(path: str):
    return load_innovation_sae(Warehouse().artifact_path(*path.split("/")[1:]))


def test_fvu_is_that_of_y_and_the_innovations_own_stands_beside_it(study):
    sql = """select w.*, s.path, m.fvu, q.value as own from innovation_saes as w
        inner join studied_saes as s using (collection, sae) inner join sae_comparison as m using (collection, sae)
        left join sae_quality as q on q.sae = w.sae and q.metric = 'innovation_fvu'"""
    found = rows(None, sql)
    assert len(found) == 3 * (1 + 3 + 1)  # of each pair: itself, three baselines and the operator alone
    source = residual_source(study.settings.study(study.collection))
    blocks = list(source.blocks(splits=["test"]))
    for row in found:
        x, y = (torch.cat([b.residuals[row[layer]] for b in blocks]) for layer in ("source_layer", "target_layer"))
        coder = loaded(row["path"])
        error = (y.double() - coder.reconstruct(x, y).double()).square().sum()
        v = y.double() - coder.operator(x.double())
        assert row["fvu"] == pytest.approx(float(error / (y - y.mean(0)).double().square().sum()), rel=1e-4)
        assert row["own"] == pytest.approx(float(error / (v - v.mean(0)).square().sum()), rel=1e-4)
        assert row["n_parameters"] == coder.n_parameters


def test_the_operator_is_the_registered_one_and_the_sae_is_keyed_by_it(study):
    fitted = {row["operator"]: row for row in rows(None, "select * from operators")}
    found = rows(None, "from innovation_saes inner join studied_saes using (collection, sae)")
    for row in found:
        operator = fitted[row["operator"]]
        assert (operator["source_layer"], operator["target_layer"]) == (row["source_layer"], row["target_layer"])
        stored, own = load_operator(Warehouse().artifact_path(*operator["path"].split("/")[1:])), loaded(row["path"])
        assert (own.operator.matrix == stored.matrix).all()
        assert own.operator_key == row["operator"]
        with pytest.raises(SAEError, match="an SAE of innovations"):
            load_sae(Warehouse().artifact_path(*row["path"].split("/")[1:]))
    weights = {row["path"].rpartition("/")[2] for row in found if row["method"] == "ridge"}
    assert weights == {member.weights.key for member in of(study).members}
    assert not weights & {member.weights.key for member in of(study, method="identity").members}


def test_it_is_compared_with_plain_ones_of_both_widths_alone_in_chains_and_by_decoders(study):
    found = rows(None, "from innovation_comparisons where study = ? order by all", [study.key])
    scopes = {"alone": {"fvu", "ce_recovered", "kl"}, "chain": {"ce_recovered", "kl"}, "neighbours": {"layer_cosine"}}
    for scope, metrics in scopes.items():
        own = [row for row in found if row["scope"] == scope]
        assert {row["metric"] for row in own} == metrics
        assert len(own) == 4 * len(metrics)  # two innovation SAEs, each beside two widths
    assert {tuple(row["layers"]) for row in found if row["scope"] == "chain"} == {(1, 2), (1, 2, 3)}
    assert {tuple(row["layers"]) for row in found if row["scope"] == "neighbours"} == {(1, 2), (2, 3)}
    d = 16
    (narrow, wide), operator = (2 * d * m + m + d for m in (24, 32)), d * d + d
    whole = [row for row in found if tuple(row["layers"]) == (1, 2, 3)]
    assert {row["n_parameters"] for row in whole} == {3 * narrow + 2 * operator}
    assert {row["plain_n_parameters"] for row in whole} == {3 * narrow, narrow + 2 * wide}
    judged = {row["sae"]: row for row in rows(None, "from sae_comparison")} | {
        row["sae"]: row for row in rows(None, "select sae, value as fvu from sae_quality where metric = 'fvu'")
    }
    for row in found:
        if row["metric"] == "fvu":
            assert row["innovation"] == pytest.approx(judged[row["sae"]]["fvu"], rel=1e-4)
            assert row["plain"] == pytest.approx(judged[row["other_sae"]]["fvu"], rel=1e-4)
        if (
            row["metric"] == "ce_recovered" and row["innovation"] is None
        ):  # zero does not raise this random model's loss
            assert row["plain"] is None
            continue
        assert row["difference"] == pytest.approx(row["innovation"] - row["plain"], abs=1e-9)
        assert row["baseline"] is not None
        assert row["n"] > 0


def test_its_features_are_followed_and_mapped_and_have_no_gradients(study):
    (own,) = rows(
        None, "select sae from sae_studies inner join innovation_saes using (collection, sae) where looked_at"
    )
    for table in ("feature_map", "feature_clusters", "feature_emergence", "sae_snapshots", "sae_training"):
        assert rows(None, f"select 1 from {table} where sae = ?", [own["sae"]]), table
    assert not rows(None, "from feature_attribution where sae = ?", [own["sae"]])
    assert not rows(None, "from feature_families")


def test_pages_frontiers_and_others_keep_it_apart_from_saes_of_residuals(study):
    kinds = rows(None, "select distinct kind, site from latest_sae_study where not is_baseline")
    assert {row["kind"] for row in kinds} >= {"topk innovation"}
    assert not rows(None, "from sae_frontier where next_architecture is not null and metric = 'fvu'")
    (own, *_) = rows(None, "select sae from innovation_saes")
    with pytest.raises(SAEError, match="reads resid_post less"):
        sae_of(study.settings.study(study.collection), own["sae"])
    with pytest.raises(InputError, match="reads resid_post less"):
        studied_rows(Warehouse(), study.collection, [own["sae"]])
    assert not rows(None, "from sae_quality where value is null and reason is null")
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_a_missing_operator_is_one_line(study):
    with pytest.raises(InputError, match="ridge of 0 to 2: the operators of the study do not have it"):
        of(study, source_layer=0)
    with pytest.raises(InputError, match="no operator nothing is fitted"):
        of(study, operator="nothing")
    pair = "source_layer = 2 and target_layer = 3 and method = 'ridge'"
    key = rows(None, f"select operator from operators where {pair}")[0]["operator"]
    with pytest.raises(InputError, match="is of layers 2 to 3"):
        of(study, operator=key)


def test_an_operator_by_its_key_brings_its_method_and_must_be_of_the_same_position(study, monkeypatch):
    sql = "select operator from operators where source_layer = 2 and target_layer = 3 and method = ?"
    (row,) = rows(None, sql, ["identity"])
    listed = [one for one in study.settings.sae_study.saes if (one.source_layer, one.layer) == (2, 3)]
    whole, own = study.settings.study(study.collection), study.settings.sae_study
    named = [one.model_copy(update={"operator": row["operator"]}) for one in listed]
    found = with_operators(whole, own.model_copy(update={"saes": named}), study.settings.operators)
    assert {one.method for one in listed} == {"ridge"}
    assert {one.method for one in found.saes} == {"identity"}
    (member, *_) = SAEStudy(whole, found).members
    assert member.label.endswith("innovation from layer 2 by identity")
    monkeypatch.setattr(
        "tasks.sae_study.operators._OPERATOR",
        operators._OPERATOR.replace("position_policy", "'previous' as position_policy"),
    )
    with pytest.raises(InputError, match="has position policy previous, so that x is not of the same token"):
        of(study)


def test_page_and_report_show_each_number_beside_plain_saes(study, monkeypatch):
    monkeypatch.setattr("dashboards.ui.panels.OPENED", True)  # a reader has opened the statements
    app = open_page("sae_study", layer=3, site="resid_post less ridge of layer 2")
    found = check_numbers(app)
    told = {panel.key: panel for panel in panels(open_scope(Warehouse(), study.collection))}["sae-innovations"]
    expected = rows(None, "select * from innovation_comparisons where study = ?", [study.key])
    assert len(found["Innovation against plain"].rows) == len(told.rows) == len(expected)
    assert told.body.count("<tr>") == len(expected) + 1
    labels = found["Comparison"].rows["label"].to_list()
    assert "topk k=3 24 features seed 0 innovation from layer 2" in labels
    assert "linear innovation from layer 2" in labels
    assert len(labels) == 5
    of_one = open_page("sae_study", part="One SAE", layer=3, site="resid_post less ridge of layer 2")
    assert any("features of innovations have no page" in caption.value for caption in of_one.caption)


def test_a_second_run_makes_nothing_anew(study):
    before = rows(None, "select count(*) as n from stage_runs where stage like 'sae_stud%'")
    assert (
        study_saes.fn(study.settings.study(study.collection), study.settings.studied_saes, 1, study.settings.operators)
        == study.key
    )
    assert rows(None, "select count(*) as n from stage_runs where stage like 'sae_stud%'") == before
