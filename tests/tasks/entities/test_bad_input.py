"""Bad input to a study of entities: an error of one line, or a counted drop that is said; nothing is shifted."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from ato.errors import AtoError, InputError, LayerError, SettingsError
from flows.settings import Settings
from tasks.entities.sources import read_source, source_hashes
from tasks.entities.task import study_entities
from tests.flows.planted_entities import (
    LAYER,
    N_PER_CLASS,
    TYPES,
    earlier_stages,
    knowing,
    planted_settings,
    records,
    write_records,
)
from warehouse.catalog.catalog import rows
from warehouse.quality import checks
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow

FEW: dict[str, dict[str, Any]] = {
    "set": {"n_invented": 0},
    "latents": {"uncertainty": False, "n_permutations": 19},
    "interventions": {"n_entities": 0},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The planted study up to the stage, and how it is run on changed settings; ATO_WAREHOUSE points at it."""
    folder = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as patch, knowing():
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = planted_settings(folder)
        collection, saes = earlier_stages(settings)
        yield SimpleNamespace(folder=folder, settings=settings, collection=collection, saes=saes)


@pytest.fixture
def run(study, tmp_path, capsys) -> Callable[..., str]:
    """Run the stage on records with changed settings; returns what was said."""

    def run_on(found: list[dict[str, Any]] | None = None, **groups: dict[str, Any]) -> str:
        own = study.settings.entities.model_dump()
        sources = {} if found is None else {"sources": [str(write_records(tmp_path / "given.jsonl", found))]}
        values = {name: inner | FEW.get(name, {}) | groups.get(name, {}) for name, inner in own.items()}
        values["set"] = values["set"] | sources | groups.get("set", {})
        settings = Settings.model_validate(study.settings.model_dump() | {"entities": values})
        capsys.readouterr()
        study_entities.fn(settings.study(study.collection), study.saes, settings.operators, settings.entities)
        return " ".join(capsys.readouterr().err.split())

    return run_on


def last(stage: str) -> str:
    """Key of the run of a stage that started last."""
    return max((run for run in manifests(Warehouse()) if run.stage == stage), key=lambda run: run.started_at).key


def check_error(error: AtoError, *words: str) -> None:
    message = str(error)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("source", ["towns", "/nonexistent/cities.jsonl", "/nonexistent/cities.parquet", "/tmp"])
def test_an_unknown_source_or_a_missing_file_names_what_there_is(source):
    with pytest.raises(InputError) as caught:
        source_hashes(["cities", source])
    check_error(caught.value, source, "cities, countries, films, people, works")


def test_a_malformed_line_is_named(run, tmp_path, study):
    path = tmp_path / "cut.jsonl"
    path.write_text(json.dumps(records()[0]) + '\n{"entity": "Bavi', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        run(set={"sources": [str(path)]})
    check_error(caught.value, "cut.jsonl, line 2", "not JSON")
    path.write_text(json.dumps({"entity": "Bavig", "kind": "city"}), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        run(set={"sources": [str(path)]})
    check_error(caught.value, "cut.jsonl, line 1", "unknown key kind")


def test_a_parquet_file_of_records_reads_as_the_same_records_do_in_jsonl(tmp_path):
    found = records()
    for record in found[::2]:
        record["popularity"] = None
        record["attributes"] = record["attributes"][:1]
    pl.DataFrame(found).write_parquet(tmp_path / "entities.parquet")
    write_records(tmp_path / "entities.jsonl", found)
    ours, theirs = (read_source(str(tmp_path / f"entities.{kind}")) for kind in ("parquet", "jsonl"))
    assert [(e.entity_id, e.attributes, e.popularity) for e in ours] == [
        (e.entity_id, e.attributes, e.popularity) for e in theirs
    ]


def damaged_parquet(content: bytes) -> dict[str, bytes]:
    """Kinds of damage -> bytes."""
    return {
        "text": b"no Parquet at all",
        "empty": b"",
        "cut": content[: len(content) // 2],
        "footer": content[:-408] + bytes(400) + content[-8:],
        "pages": content[:8] + bytes(200) + content[208:],
    }


@pytest.mark.parametrize("kind", list(damaged_parquet(b"")))
def test_a_broken_parquet_file_is_one_line(tmp_path, kind):
    path = tmp_path / "broken.parquet"
    pl.DataFrame(records()).write_parquet(path)
    path.write_bytes(damaged_parquet(path.read_bytes())[kind])
    with pytest.raises(InputError) as caught:
        read_source(str(path))
    check_error(caught.value, "broken.parquet", "Parquet")


def test_a_parquet_table_that_is_not_in_record_form_is_one_line(tmp_path):
    path = tmp_path / "flat.parquet"
    pl.DataFrame({"entity": ["Bavig"], "entity_type": ["city"], "country": ["Land2"]}).write_parquet(path)
    with pytest.raises(InputError) as caught:
        read_source(str(path))
    check_error(caught.value, "flat.parquet, record 1", "unknown key country")


def test_duplicates_empty_names_and_entities_without_facts_are_counted_and_left_out(run):
    found = records()
    bad = [
        found[0],
        found[0] | {"popularity": 10**6},
        found[1] | {"entity": "  "},
        found[2] | {"entity": "Bavigu", "attributes": []},
    ]
    said = run(found + bad)
    assert "left out: 2 duplicate, 1 empty name, 1 no attribute" in said
    stored = rows(None, "select name, popularity from entities where entity_set = ?", [last("entity_set")])
    assert len(stored) == len(found)
    assert {row["name"]: row["popularity"] for row in stored}[found[0]["entity"]] == 10**6


def test_a_set_of_nothing_but_bad_records_is_one_line(run):
    with pytest.raises(InputError) as caught:
        run([record | {"entity": ""} for record in records()])
    check_error(caught.value, "no entity is left")


def test_with_one_type_cross_type_scores_are_null_and_it_is_said(run):
    said = run(records(("city",)))
    assert "city is the only type: cross-type scores are missing" in said
    found = rows(
        None,
        "select entity_type, auroc, auroc_cross_type from entity_latents where latent_scoring = ? and rank = 1",
        [last("entity_latents")],
    )
    assert {row["entity_type"] for row in found} == {"all", "city"}
    assert all(row["auroc"] == 1 and row["auroc_cross_type"] is None for row in found)


def test_without_unknown_entities_the_contrast_is_left_out_said_and_tables_are_empty(run):
    found = [record for record in records() if record["entity"].endswith("z")]
    said = run(found, latents={"uncertainty": True}, interventions={"n_entities": 2})
    assert "known_unknown at entity_last of name: no type has known and unknown train entities, left out" in said
    assert "correct_wrong at question_end of country: no type has correct and wrong train entities, left out" in said
    assert said.count("known_unknown at entity_last of name") == 1, "what is missing everywhere is said once"
    assert "no ranked latent of knowing: nothing to change" in said
    for stage, key, tables in (
        ("entity_latents", "latent_scoring", ("latents", "baselines", "activations", "classifiers", "transport")),
        ("entity_interventions", "intervening", ("interventions", "intervention_effects")),
    ):
        for table in tables:
            assert rows(None, f"select 1 from entity_{table} where {key} = ?", [last(stage)]) == []
    assert checks.failures(checks.check_all(Warehouse())) == []


def test_a_class_that_only_one_type_has_leaves_the_other_type_with_nulls(run):
    found = [one for one in records() if one["entity_type"] == "city" or one["entity"].endswith("z")]
    said = run(found)
    assert "type movie has no known entity and no unknown entity: its scores are missing" in said
    found = rows(
        None,
        "select entity_type, separation, auroc, auroc_cross_type, q from entity_latents "
        "where latent_scoring = ? and direction = 'known' and rank = 1 order by entity_type",
        [last("entity_latents")],
    )
    by_type = {row["entity_type"]: row for row in found}
    assert by_type["city"]["auroc"] == by_type["all"]["auroc"] == 1
    assert by_type["movie"]["auroc"] is by_type["movie"]["separation"] is by_type["movie"]["q"] is None
    assert all(row["auroc_cross_type"] is None for row in found)


def test_attributes_without_a_question_are_said_and_their_entities_not_asked(run):
    found = records(("city", "gadget"))
    found[0]["attributes"].append({"attribute_type": "mayor", "attribute_value": "Ann Lee2"})
    said = run(found)
    assert "attributes without a question: city_mayor (1), gadget_colour (72)" in said
    labels = rows(
        None,
        "select distinct entity_type, label from entities join entity_labels using (collection, entity_id) "
        "where labelling = ? and entity_set = ? order by all",
        [last("entity_labels"), last("entity_set")],
    )
    assert [tuple(row.values()) for row in labels] == [("city", "known"), ("city", "unknown"), ("gadget", "not_asked")]


def test_nothing_to_ask_or_to_read_in_is_one_line(run):
    with pytest.raises(SettingsError) as caught:
        run(records(("gadget",)))
    check_error(caught.value, "no attribute of these entities has a template")
    with pytest.raises(SettingsError) as caught:
        run(answers={"attributes": ["country", "mayor"]})
    check_error(caught.value, "nothing can be asked about mayor", "country, directors, population, release_year")
    with pytest.raises(SettingsError) as caught:
        run(latents={"templates": ["name", "mayor"]})
    check_error(caught.value, "no entity can be read in mayor", "entities.latents.templates")


@pytest.mark.parametrize("family", ["chat_prefill", "chat_free"])
def test_a_base_model_is_not_asked_in_chats(run, family):
    with pytest.raises(SettingsError) as caught:
        run(answers={"family": family})
    check_error(caught.value, "a base model cannot be asked in", family)


def test_fewer_invented_entities_than_asked_for_are_counted(run):
    said = run(records()[:20], set={"n_invented": 5_000})
    made = rows(None, "select count(*) as n from entities where invented and entity_set = ?", [last("entity_set")])
    assert f"only {made[0]['n']} of 5000 invented names match a real one in tokens" in said
    assert made[0]["n"] < 5_000


def test_without_entities_to_ask_again_there_are_no_interventions(run):
    said = run(interventions={"n_entities": 0})
    assert "best latent of known is 0" in said
    assert not [
        run
        for run in manifests(Warehouse())
        if run.stage == "entity_interventions" and last("entity_latents") in run.inputs
    ]


def test_layers_without_that_of_an_sae_or_outside_the_model_are_refused_before_anything_is_asked(run):
    before = len(manifests(Warehouse()))
    with pytest.raises(LayerError) as caught:
        run(latents={"layers": [0, 1]})
    check_error(caught.value, f"layers [{LAYER}] have an SAE", "entities.latents.layers=[0, 1]")
    with pytest.raises(LayerError) as caught:
        run(latents={"layers": [LAYER, 9]})
    check_error(caught.value, "layers [9] are not in the model", "0 to 4")
    assert len(manifests(Warehouse())) == before


def test_more_right_samples_than_samples_are_refused_before_anything_is_asked(run):
    before = len(manifests(Warehouse()))
    with pytest.raises(SettingsError) as caught:
        run(answers={"n_samples": 2, "min_right_samples": 3})
    check_error(caught.value, "of 2 samples 3 cannot be right", "entities.answers")
    assert len(manifests(Warehouse())) == before


def test_without_an_sae_there_is_nothing_to_look_at(study):
    with pytest.raises(SettingsError) as caught:
        study_entities.fn(study.settings.study(study.collection), [], study.settings.operators, study.settings.entities)
    check_error(caught.value, "no SAE")


def test_a_name_with_a_special_token_is_dropped_with_its_reason_and_the_others_stay_in_place(run):
    found = records()
    found.append(found[0] | {"entity": "Bav<eos>z"})
    said = run(found)
    assert "1 without tokens of their own" in said
    stored = rows(None, "select count(*) as n from entities where entity_set = ?", [last("entity_set")])
    assert stored == [{"n": len(found) - 1}]


def test_entities_are_read_in_a_text_of_ones_own_at_a_marked_place(run):
    text = "I met {entity}[[met]] there."
    said = run(latents={"templates": [text, "name"], "positions": ["met", "entity_last"]})
    assert f"known_unknown at met of {text}: best latent of known is 0" in said
    reading = rows(None, "select inputs from stage_runs where key = ?", [last("entity_residuals")])[0]["inputs"][1]
    found = rows(
        None,
        "select template, position, count(token) as n, any_value(drop_reason) as dropped from entity_positions "
        "where reading = ? group by all order by all",
        [reading],
    )
    n = 2 * N_PER_CLASS * len(TYPES)
    assert [tuple(row.values()) for row in found] == [
        (text, "entity_last", n, None),
        (text, "met", n, None),
        ("name", "entity_last", n, None),
        ("name", "met", 0, "this prompt has no met"),
    ]
