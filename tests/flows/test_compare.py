"""The flow ``compare``: what a checkpoint changed is found, and nothing else; made once, refused where texts differ."""

from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from ato.errors import AtoError, MismatchError
from flows.cli import app
from flows.collect import collect
from flows.compare import compare
from flows.engine.running import complete_result
from flows.settings import Settings
from tests.flows.planted_checkpoints import AXIS, SOURCE, TARGET, D, add_checkpoint, checkpoint_settings
from warehouse.catalog.catalog import rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module")
def compared(tmp_path_factory, prefect_server):
    """The first checkpoint compared with the second; ATO_WAREHOUSE points there while the module runs."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = checkpoint_settings(folder)
        (folder / "tiny.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
        keys = compare(settings)
        yield SimpleNamespace(folder=folder, settings=settings, keys=keys)


def test_the_planted_change_and_only_it_is_found(compared):
    (one,) = rows(None, "from latest_comparisons")
    assert (one["other_model"], one["place"]) == ("step-50", 0)
    assert (one["source_layer"], one["target_layer"]) == (SOURCE, TARGET)
    assert one["n_features"] > D
    found = rows(None, "from compared_features where changed")
    assert {row["feature_id"] % D for row in found} == {AXIS}
    assert one["n_changed"] == len(found) > 0
    for row in found:
        assert row["difference_high"] < 0
        assert row["other_r2"] < row["r2"]
    others = rows(None, f"from compared_features where difference is not null and feature_id % {D} <> {AXIS}")
    assert max(abs(row["difference"]) for row in others) < 0.05
    assert max(abs(row["loss"]) for row in others) < 0.05


def test_scores_of_this_model_are_those_of_its_evaluation(compared):
    from flows.evaluate import evaluate

    evaluate(compared.settings)
    pairs = rows(
        None,
        """select c.r2 as compared, t.r2 as evaluated, c.verdict, t.verdict as own_verdict
        from feature_comparisons as c inner join feature_transport as t
            using (collection, sae, source_layer, target_layer, method, feature_id)
        where t.r2 is not null""",
    )
    assert len(pairs) > D
    for row in pairs:
        assert row["compared"] == pytest.approx(row["evaluated"], abs=1e-9)
        assert row["verdict"] == row["own_verdict"]


def test_what_was_compared_is_not_compared_again_and_show_lists_it(compared):
    complete, keys = complete_result("compare", compared.settings)
    assert complete
    assert keys == compared.keys
    shown = CliRunner().invoke(app, ["show", "compare"])
    assert shown.exit_code == 0, shown.output
    assert "step-50" in shown.output  # its collection is the later one
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_a_finished_collection_is_compared_by_its_key(compared):
    by_key = checkpoint_settings(compared.folder, models=[], collections=[other_collection()])
    (key,) = compare(by_key)
    assert [key] == compared.keys  # the same two collections, operators and SAEs


def test_collections_of_other_text_are_refused(compared):
    shorter = compared.settings.model_dump(exclude_unset=True)
    shorter["collect"] |= {"n_tokens": 6_000}
    shorter |= {"compare": {"collections": [other_collection()]}}
    with pytest.raises(MismatchError, match=r"\d+ sequences differ between the collections, the first is \d+ \(\w+\)"):
        compare(type(compared.settings).model_validate(shorter))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"skip_first": False}, "skip_first is False in one collection and True in the other"),
        ({"max_norm_multiple": None}, "max_norm_multiple is None in one collection and 10.0 in the other"),
        ({"n_folds": 4}, "n_folds is 4 in one collection and 3 in the other"),
    ],
)
def test_collections_that_leave_out_or_split_otherwise_are_refused(compared, changed, said):
    otherwise = compared.settings.model_dump(exclude_unset=True)
    otherwise["collect"] |= changed
    otherwise |= {"compare": {"collections": [other_collection()]}}
    with pytest.raises(MismatchError, match=said):
        compare(type(compared.settings).model_validate(otherwise))


@pytest.mark.parametrize(
    ("compared_with", "said"),
    [
        ({"models": ["/nowhere"]}, "compare.models = '/nowhere': model not found"),
        ({"models": [], "collections": ["gone"]}, "gone"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_made(compared, tmp_path, monkeypatch, compared_with, said):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "new"))
    with pytest.raises(AtoError, match=said):
        compare(checkpoint_settings(compared.folder, **compared_with))
    assert not (tmp_path / "new" / "activations").exists()


def other_collection():
    (other,) = {row["other_collection"] for row in rows(None, "from comparisons")}
    return other


def test_a_watch_warns_of_a_change_once_also_if_it_was_killed_before(compared, monkeypatch):
    from ato.errors import QualityError
    from flows.watch import CHANGED, watch

    sent = []
    monkeypatch.setattr("flows.watch.emit", lambda event, *_: sent.append(event))
    lenient = checkpoint_settings(compared.folder, smallest_change=0.1)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("flows.watch.conclude", killed)  # the comparison is there, nothing was said of it
        with pytest.raises(KeyboardInterrupt):
            watch.fn(lenient)
    assert not sent
    with pytest.raises(QualityError, match="transport changed: 2 features in step-50"):
        watch(lenient)
    assert sent == [CHANGED]
    assert watch(lenient) == complete_result("watch", lenient)[1]
    assert sent == [CHANGED]
    indifferent = checkpoint_settings(compared.folder, smallest_change=1e6)
    watch(indifferent)
    assert sent == [CHANGED]
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_a_checkpoint_in_front_leaves_the_comparisons_behind_it_as_they_are(compared):
    add_checkpoint(compared.folder, "step-7")
    keys = compare(compared.settings)
    assert keys[1:] == compared.keys
    assert keys[0].startswith("compare-step-7-")
    places = rows(None, "select distinct other_model, place from latest_comparisons order by place")
    assert [row["other_model"] for row in places] == ["step-7", "step-50"]


def test_the_same_model_in_another_precision_is_compared_by_its_collection_and_nothing_changed(compared):
    halves = compared.settings.model_dump(exclude_unset=True)
    halves["model"] |= {"dtype": "bfloat16"}
    key = collect(Settings.model_validate(halves))
    (comparison,) = compare(checkpoint_settings(compared.folder, models=[], collections=[key]))
    precisions = rows(None, "select dtype from collections where collection = ?", [key])
    assert precisions == [{"dtype": "bfloat16"}]
    found = rows(None, "select difference, changed from feature_comparisons where comparison = ?", [comparison])
    differences = [row["difference"] for row in found if row["difference"] is not None]
    assert len(differences) > D
    assert 0 < max(map(abs, differences)) < 0.05
    assert not any(row["changed"] for row in found)
