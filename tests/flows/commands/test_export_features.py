"""``ato export features``: from the tables to files that their readers open, and one line where that cannot be."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ato.errors import AtoError, InputError, SettingsError
from ato.features.exports.packed import PackedFeatures
from flows.cli import app
from flows.commands.export_features import export_features, read_features
from tests.warehouse.small_warehouse import COLLECTION, SAE, commit_stage, row, write
from warehouse.catalog.feature_pages import FeaturePages

OTHER, TWIN = "sae-layer02-bbbb0000", "sae-layer04-cccc0000"


def exported(folder: Path, *arguments: str) -> list[str]:
    """Paths that the command prints."""
    found = CliRunner().invoke(app, ["export", "features", "--to", str(folder), *arguments], catch_exceptions=False)
    assert found.exit_code == 0
    return [line for line in found.stdout.splitlines() if line.startswith(str(folder))]


@pytest.fixture
def richer(sound):
    """The small warehouse with a second SAE at layer 2, scored, whose examples split a character over tokens."""
    own = {"sae": OTHER, "scoring": "scores-2", "layer": 2}
    scores = [
        row("feature_scores", **own, feature_id=i, n_tokens=10, n_active=i, activation_rate=i / 10, selected=i > 2)
        for i in range(5)
    ]
    window = {"sequence_id": 0, "position": 3, "start": 1, "activation": 2.0, "activations": [0.0, 0.5, 2.0]}
    examples = [
        row("feature_examples", **own, **window, feature_id=4, tokens=[" x", "<0xC3>", "<0xA9>"]),
        row("feature_examples", **own, **window, feature_id=4, kind="quantile", quantile=0.5, tokens=["a", "b", "c"]),
        row(
            "feature_examples",
            **own,
            **window,
            feature_id=4,
            kind="quantile",
            quantile=1.0,
            tokens=["a", "b", "c"],
            rank=2,
        ),
        row("feature_examples", **own, **window, feature_id=3, kind="random", tokens=["a", "b", "c"]),
    ]
    doubted = row(
        "explanations", sae=OTHER, layer=2, feature_id=4, explanation_id="e2", description="no", aligned=False
    )
    told = row(
        "explanations",
        sae=OTHER,
        layer=2,
        feature_id=4,
        explanation_id="e3",
        description="an accent",
        aligned=True,
        score=0.5,
    )
    sae = row("saes", sae=OTHER, layer=2, d_sae=5, neuronpedia_id="tiny-model/2-res-jb__l0-9")
    for stage, tables in {
        "saes": {"saes": [sae]},
        "feature_scores": {"feature_scores": scores, "feature_examples": examples},
        "explain": {"explanations": [doubted, told]},
    }.items():
        commit_stage(sound, stage, write(sound, tables, "more"), key=f"{stage}-2")
    return sound


def test_expanded_files_show_what_the_tables_hold(richer, tmp_path):
    (metadata,) = exported(tmp_path / "out")
    rates = json.loads(Path(metadata).read_bytes())
    assert [(one["layer"], one["feature"], one["activation_count"]) for one in rates["features"]] == [
        (2, 3, 3),
        (2, 4, 4),
        (4, 2, 2),
    ]
    assert rates["total_tokens"] == 10
    content = json.loads((tmp_path / "out" / "features" / "23.json").read_bytes())  # cantor(4, 2)
    assert (content["top_logits"], content["top_logit_values"]) == ([" a", " b"], [2.0, 1.0])
    (example,) = content["examples_quantiles"][0]["examples"]
    assert (example["tokens"], example["tokens_acts_list"], example["train_token_ind"]) == (
        [" a", " b", " c"],
        [0, 3, 1],
        1,
    )
    assert (example["origin"]["document"], example["origin"]["split"]) == (2, "test")
    assert example["origin"]["corpus"] == "x"
    assert [(one["text"], one["source"]) for one in content["descriptions"]] == [("the letter b", "neuronpedia")]


def test_characters_are_whole_quantiles_have_their_ends_and_doubted_labels_stay_away(richer):
    pages = FeaturePages(richer, COLLECTION, OTHER, 2, 5)
    (page,) = pages.read([4])
    assert page.group("top")[0].tokens == (" x", "é", "")
    assert [group.name for group in page.groups if group.kind == "quantile"] == [
        "Quantile 0 to 0.5",
        "Quantile 0.5 to 1",
    ]
    assert [(one.text, one.score) for one in page.descriptions] == [("an accent", 0.5)]


def test_every_feature_can_be_opened_in_the_pack(richer, tmp_path):
    (index,) = exported(tmp_path, "--format", "circuit-tracer")
    assert index == str(tmp_path / "index.json.gz")
    packed = PackedFeatures(tmp_path)
    assert packed.widths == {2: 5, 4: 3}
    assert [one["feature"] for one in packed] == [0, 1, 2, 3, 4, 0, 1, 2]
    frequency = {(one["layer"], one["feature"]): one["activation_frequency"] for one in packed}
    assert frequency[4, 2] == 0.2
    assert frequency[4, 1] is None  # it was not asked for


def test_each_sae_has_a_folder_under_its_name_on_neuronpedia(richer, tmp_path):
    paths = exported(tmp_path, "--format", "neuronpedia")
    assert [str(Path(path).relative_to(tmp_path)) for path in paths] == [
        "tiny-model/2-res-jb__l0-9/batch-0.json",
        f"x/4-{SAE}/batch-0.json",
    ]
    batch = json.loads(Path(paths[0]).read_bytes())
    assert (batch["layer"], batch["sae_set"], batch["sae_id_suffix"]) == (2, "res-jb", "l0-9")
    assert [feature["feature_index"] for feature in batch["features"]] == [3, 4]
    assert (batch["features"][0]["n_prompts_total"], batch["features"][0]["n_tokens_in_prompt"]) == (4, 4)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [("shown", [3, 4]), ("selected", [3, 4]), ("all", [0, 1, 2, 3, 4]), ({4, 1}, [1, 4]), (set(), [])],
)
def test_features_are_chosen_by_what_is_known_of_them(richer, wanted, ids):
    assert FeaturePages(richer, COLLECTION, OTHER, 2, 5).ids(wanted) == ids


def test_saes_layers_and_features_can_be_named(richer, tmp_path):
    exported(tmp_path / "a", "--sae", SAE, "--features", "0,2")
    assert sorted(path.name for path in (tmp_path / "a" / "features").iterdir()) == ["23.json"]  # 0 never fires
    exported(tmp_path / "b", "--layer", "2", "--features", "all")
    assert len(list((tmp_path / "b" / "features").iterdir())) == 4


def test_parts_do_not_show_in_the_result(richer, monkeypatch):
    pages = FeaturePages(richer, COLLECTION, OTHER, 2, 5)
    whole = list(pages.read([0, 1, 2, 3, 4]))
    monkeypatch.setattr("warehouse.catalog.feature_pages.PART", 2)
    assert list(pages.read([0, 1, 2, 3, 4])) == whole


def test_an_sae_without_a_scoring_is_counted_by_its_statistics(sound):
    sae = row("saes", sae=OTHER, layer=2, d_sae=2)
    counts = row("feature_stats", sae=OTHER, layer=2, feature_id=1, n_tokens=8, n_active=2, activation_rate=0.25)
    commit_stage(sound, "saes", write(sound, {"saes": [sae]}, "more"), key="saes-2")
    commit_stage(sound, "features", write(sound, {"feature_stats": [counts]}, "more"), key="features-2")
    pages = FeaturePages(sound, COLLECTION, OTHER, 2, 2)
    assert pages.ids("shown") == []
    assert pages.ids("all") == [1]
    unknown, known = pages.read([0, 1])
    assert (unknown.activation_rate, known.activation_rate) == (None, 0.25)


def test_two_saes_of_a_layer_are_refused_where_files_are_named_by_layer(sound, tmp_path):
    commit_stage(sound, "saes", write(sound, {"saes": [row("saes", sae=TWIN, layer=4, d_sae=3)]}, "more"), key="saes-2")
    for format_ in ("expanded", "circuit-tracer"):
        with pytest.raises(InputError, match=f"--sae {SAE}"):
            export_features(COLLECTION, tmp_path, format_)
    assert export_features(COLLECTION, tmp_path, "neuronpedia")
    assert export_features(COLLECTION, tmp_path, "expanded", saes=[SAE])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"saes": ["nothing"]}, f"no SAE 'nothing' .*: use one of {SAE}"),
        ({"layer": 3}, "layer 3"),
        ({"features": "3"}, "no feature 3 .*: ask for features 0 to 2"),
        ({"features": "one"}, "cannot be read: use shown"),
    ],
)
def test_what_cannot_be_exported_is_one_line_with_the_cure(sound, tmp_path, options, problem):
    with pytest.raises(AtoError, match=problem):
        export_features(COLLECTION, tmp_path / "out", "expanded", **options)
    assert not (tmp_path / "out").exists()


def test_nothing_to_export_is_told(sound, tmp_path):
    commit_stage(
        sound, "saes", write(sound, {"saes": [row("saes", sae=OTHER, layer=2, d_sae=2)]}, "more"), key="saes-2"
    )
    with pytest.raises(InputError, match="no features to export"):
        export_features(COLLECTION, tmp_path, "expanded", saes=[OTHER])


def test_a_folder_that_cannot_be_written_is_told(sound, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AtoError, match=r"cannot be written: .*: choose another folder"):
        export_features(COLLECTION, tmp_path / "file" / "out", "expanded")


def test_options_of_features_are_refused_for_other_exports(study, tmp_path):
    found = CliRunner().invoke(app, ["export", "feature-scores", "--to", str(tmp_path), "--format", "expanded"])
    assert isinstance(found.exception, SettingsError)


@pytest.mark.parametrize("bad", ["", "one", "3-1", "-2", "1,,2", "1-2-3", "0-99999999", "٣"])
def test_numbers_that_cannot_be_read_are_refused(bad):
    with pytest.raises(SettingsError, match="numbers and ranges"):
        read_features(bad)


def test_numbers_and_ranges_are_read():
    assert read_features("3, 17,100-102,101") == {3, 17, 100, 101, 102}
    assert read_features("selected") == "selected"


def test_a_second_export_gives_the_same_bytes(richer, tmp_path):
    for name in ("a", "b"):
        for format_ in ("expanded", "circuit-tracer", "neuronpedia"):
            export_features(COLLECTION, tmp_path / name / format_, format_)
    files = [Path(folder, file) for folder, _, found in os.walk(tmp_path / "a") for file in found]
    assert len(files) == 4 + 3 + 6
    for path in files:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
