"""The flow ``entities`` on a tiny model with a planted direction of knowing: found, judged, changed, resumed, exported."""

import io
import json
import shutil
import signal
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

import ato
from ato.entities.graders import grade
from ato.entities.groups import EntityGroups
from ato.entities.matching import match_on_tokens
from ato.errors import InputError
from ato.operators import load_operator
from flows.cli import app
from flows.commands.export import export_entity_residuals
from flows.engine.running import complete_result
from flows.entities import entities
from flows.settings import Settings
from tasks.engine.model_cache import language_model
from tasks.entities.stages import entity_study
from tasks.entities.task import study_entities
from tests.flows.forked_stages import Death
from tests.flows.planted_entities import (
    KNOWN,
    LAYER,
    N_PER_CLASS,
    SMALL_PART,
    TYPES,
    UNKNOWN,
    earlier_stages,
    knowing,
    planted_settings,
    records,
    write_records,
)
from tests.flows.test_fault_injection import parts as parquet_files
from tests.tiny_models import byte_tokenizer
from warehouse.catalog.catalog import rows
from warehouse.quality import checks
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

STAGES = ("entity_set", "entity_answers", "entity_labels", "entity_residuals", "entity_latents", "entity_interventions")
OWN = [name for name in TABLES if name == "entities" or name.startswith("entity_")]
N_QUESTIONS = 2 * N_PER_CLASS * sum(map(len, TYPES.values()))
FIRST = "contrast = 'known_unknown' and entity_type = 'all' and direction = 'known' and rank = 1"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """What the stage needs: a folder with settings, and a warehouse with all earlier stages."""
    folder = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "base" / "warehouse"))
        settings = planted_settings(folder)
        collection, saes = earlier_stages(settings)
    return SimpleNamespace(folder=folder, settings=settings, collection=collection, saes=saes)


@pytest.fixture(scope="module")
def study(base, prefect_server):
    """The flow's first run: settings, keys, and what was said; ATO_WAREHOUSE points at it while the module runs."""
    shutil.copytree(base.folder / "base", base.folder / "data")
    with pytest.MonkeyPatch.context() as patch, knowing(), redirect_stderr(io.StringIO()) as printed:
        patch.setenv("ATO_WAREHOUSE", str(base.folder / "data" / "warehouse"))
        entities(base.settings, base.collection, base.saes, [])
        yield SimpleNamespace(**vars(base), said=" ".join(printed.getvalue().split()))


def changed(settings: Settings, **groups: dict[str, Any]) -> Settings:
    """The same settings with some values of some groups of ``entities`` replaced."""
    own = settings.entities.model_dump()
    return Settings.model_validate(
        settings.model_dump() | {"entities": {name: inner | groups.get(name, {}) for name, inner in own.items()}}
    )


def run(study: SimpleNamespace, settings: Settings) -> None:
    """The stage as a plain function."""
    study_entities.fn(settings.study(study.collection), study.saes, settings.operators, settings.entities)


def stage_keys(*stages: str) -> set[tuple[str, str]]:
    return {(run.stage, run.key) for run in manifests(Warehouse()) if run.stage in (stages or STAGES)}


def files() -> dict[Path, int]:
    """When each file of the warehouse was written, but for the published catalog and marts."""
    return {p: p.stat().st_mtime_ns for p in Path(Warehouse().root).rglob("*.parquet") if "marts" not in p.parts}


def one(sql: str, *parameters: object) -> dict[str, Any]:
    (found,) = rows(None, sql, list(parameters))
    return found


def key_of(stage: str) -> str:
    """The key of the stage in the first run of the study."""
    return one(f"select key from stage_runs where stage = '{stage}' order by started_at limit 1")["key"]


@pytest.fixture(scope="module")
def scoring(study):
    """Key of the latent scores of the first run."""
    return key_of("entity_latents")


@pytest.fixture(scope="module")
def reading(study):
    """Key of the residuals of the first run."""
    return one("select inputs from stage_runs where stage = 'entity_residuals' order by started_at limit 1")["inputs"][
        1
    ]


@pytest.fixture(scope="module")
def sae(study):
    return ato.load_sae(study.folder / "sae")


def residuals_at(reading: str, layer: int, template: str, position: str) -> dict[str, np.ndarray]:
    """Entity -> its stored residual."""
    found = rows(
        None,
        """select entity_id, residual from entity_residuals
        where reading = ? and layer = ? and template = ? and position = ?""",
        [reading, layer, template, position],
    )
    return {row["entity_id"]: np.array(row["residual"], dtype=np.float32) for row in found}


def compared_entities(split: str) -> list[str]:
    """Known and unknown entities of a split in the first run: as many of both in each stratum."""
    found = rows(
        None,
        """select entity_id, entity_type, label, split, n_tokens
        from entities join entity_labels using (collection, entity_id)
        where entity_set = ? and labelling = ? order by entity_id""",
        [key_of("entity_set"), key_of("entity_labels")],
    )
    columns = ([row[name] for row in found] for name in ("entity_id", "entity_type", "label", "split"))
    groups = EntityGroups.of(*columns)
    matched = match_on_tokens(groups, np.array([row["n_tokens"] for row in found]), seed=0)
    return [row["entity_id"] for row, kept in zip(found, groups.only(matched.mask).members(split)) if kept]


def test_every_table_of_the_stage_has_rows_and_passes_every_check(study):
    for name in OWN:
        assert one(f"select count(*) as n from {name}")["n"] > 0, name
    assert {stage for stage, _ in stage_keys()} == set(STAGES)
    assert checks.failures(checks.check_all(Warehouse())) == []


def test_those_are_known_whose_answers_are_right(study):
    found = rows(
        None,
        """select name, invented, label, n_asked, n_right
        from entities join entity_labels using (collection, entity_id)""",
    )
    assert len(found) == 4 * N_PER_CLASS + one("select count(*) as n from entities where invented")["n"]
    for row in found:
        expected = {KNOWN: "known", UNKNOWN: "unknown"}[row["name"][-1]]
        assert row["label"] == ("invented" if row["invented"] else expected)
        asked = 0 if row["invented"] else 2
        assert (row["n_asked"], row["n_right"]) == (asked, asked * (expected == "known"))
    answers = one(
        """select count(*) as n, count(distinct (entity_id, attribute, sample)) as each, count(p_correct) as p
        from entity_answers"""
    )
    # The planted grader calls every value right for known entities: nothing is left to stand against the right one.
    assert answers == {"n": 3 * N_QUESTIONS, "each": 3 * N_QUESTIONS, "p": N_QUESTIONS // 2}


def test_the_planted_latent_is_ranked_first_in_its_direction_and_holds_on_test_and_across_types(study, scoring):
    for direction, latent in (("known", 0), ("unknown", 1)):
        found = rows(
            None,
            """from entity_latents
            where latent_scoring = ? and contrast = 'known_unknown' and direction = ? and rank = 1""",
            [scoring, direction],
        )
        assert {row["entity_type"] for row in found} == {"all", *TYPES}
        for row in found:
            assert row["feature_id"] == latent
            assert row["auroc"] == row["auroc_cross_type"] == 1
            assert abs(row["separation"]) == abs(row["test_separation"]) == 1
            assert row["passes_filter"]
            assert row["general_rate"] < 0.02
            assert row["q"] < 0.05
            assert row["p_max"] == pytest.approx(0.01)
            assert row["n_positive"] > 5
            assert row["n_negative"] > 5
    assert "best latent of known is 0 of layer 2, test AUROC 1.00 [0." in study.said, (
        "limits know how few entities there are"
    )


def test_it_beats_or_equals_every_baseline_and_length_says_nothing(study, scoring):
    found = rows(
        None, "from entity_baselines where latent_scoring = ? and contrast = 'known_unknown' order by all", [scoring]
    )
    assert len(found) == 3 * 6
    assert {row["auroc"] for row in found if row["baseline"] in ("n_tokens", "n_characters")} == {0.5}
    assert not any(row["confounded"] for row in found)
    assert all(row["matched"] and row["auroc"] <= 1 for row in found)
    assert {row["auroc"] for row in found if row["baseline"] == "probe"} == {1.0}  # so the latent cannot beat it
    assert one(f"select beats_baselines from entity_latents where latent_scoring = ? and {FIRST}", scoring) == {
        "beats_baselines": False
    }
    assert "classes differ by length" not in study.said


def test_classes_whose_names_differ_in_length_are_flagged_and_it_is_said(study, capsys, monkeypatch):
    path = write_records(study.folder / "longer.jsonl", records(longer="a"))
    settings = changed(
        study.settings,
        set={"sources": [str(path)], "n_invented": 0},
        latents={"match_tokens": False, "uncertainty": False},
        interventions={"n_entities": 0},
    )
    run(study, settings)
    scoring = one("select latent_scoring from entity_baselines where baseline = 'n_tokens' and confounded limit 1")
    found = rows(
        None,
        "select auroc, matched, confounded from entity_baselines where latent_scoring = ? and baseline = 'n_tokens'",
        [scoring["latent_scoring"]],
    )
    assert found == [{"auroc": 1.0, "matched": False, "confounded": True}] * 3
    said = " ".join(capsys.readouterr().err.split())
    assert "token count alone reaches AUROC 1.00: classes differ by length" in said
    run(study, changed(settings, latents={"match_tokens": True}))
    said = " ".join(capsys.readouterr().err.split())
    assert "72 known and 72 unknown left out to match token counts" in said
    assert "left out" in said


def test_positions_residuals_and_ranks_stand_there_once(study, reading, scoring):
    n = one(
        """select count(*) as n, count(distinct (entity_id, template, position)) as each, count(drop_reason) as dropped
        from entity_positions where reading = ?""",
        reading,
    )
    n_entities = one("select count(*) as n from entities where entity_set = ?", key_of("entity_set"))["n"]
    assert n == {"n": n_entities + N_QUESTIONS, "each": n_entities + N_QUESTIONS, "dropped": 0}
    per_layer = rows(
        None,
        """select layer, count(*) as n, count(distinct (entity_id, template, position)) as each
        from entity_residuals where reading = ? group by layer order by layer""",
        [reading],
    )
    assert per_layer == [{"layer": layer, "n": n["n"], "each": n["n"]} for layer in (0, 1, LAYER)]
    ranked = rows(
        None,
        """select contrast, template, position, entity_type, direction, list(rank order by rank) as ranks
        from entity_latents where latent_scoring = ? and rank is not null group by all""",
        [scoring],
    )
    assert {row["direction"] for row in ranked if row["contrast"] == "known_unknown"} == {"known", "unknown"}
    for row in ranked:
        assert row["ranks"] == list(range(1, len(row["ranks"]) + 1))
    every = rows(
        None, "select distinct contrast, template from entity_latents where latent_scoring = ? order by all", [scoring]
    )
    asked = sorted(name for names in TYPES.values() for name in names)
    assert [tuple(row.values()) for row in every] == [("correct_wrong", name) for name in asked] + [
        ("known_unknown", "name")
    ]


def test_positions_are_those_of_the_last_letter_and_of_the_question(study, reading):
    found = rows(
        None,
        "select p.*, e.name from entity_positions as p join entities as e using (entity_id) where reading = ?",
        [reading],
    )
    tokenizer = byte_tokenizer()
    for row in found:
        assert tokenizer.decode(row["token_ids"][row["token_start"] : row["token_end"]]) == row["name"]
        expected = row["token_end"] - 1 if row["position"] == "entity_last" else len(row["token_ids"]) - 1
        assert row["token"] == expected


def test_activations_are_those_of_the_stored_residuals_encoded_anew(study, reading, scoring, sae):
    places = rows(
        None, "select distinct contrast, template, position from entity_activations where latent_scoring = ?", [scoring]
    )
    assert {"known_unknown"} <= {place["contrast"] for place in places}
    for place in places:
        x = residuals_at(reading, LAYER, place["template"], place["position"])
        encoded = sae.encode(torch.from_numpy(np.stack(list(x.values())))).numpy()
        found = rows(
            None,
            """select feature_id, entity_id, activation from entity_activations
            where latent_scoring = ? and contrast = ? and template = ? and position = ?""",
            [scoring, *place.values()],
        )
        latents = {row["feature_id"] for row in found}
        expected = {
            (latent, entity): encoded[i, latent]
            for latent in latents
            for i, entity in enumerate(x)
            if encoded[i, latent] > 0
        }
        got = {(row["feature_id"], row["entity_id"]): row["activation"] for row in found}
        assert got.keys() == expected.keys()
        assert list(got.values()) == pytest.approx([expected[key] for key in got], abs=1e-5)


def test_r2_of_transport_is_that_of_the_operator_files_on_stored_residuals(study, reading, scoring, sae):
    found = rows(None, "from entity_transport where latent_scoring = ? and contrast = 'known_unknown'", [scoring])
    assert {(row["source_layer"], row["target_layer"]) for row in found} == {(0, LAYER), (1, LAYER)}
    compared = compared_entities("test")
    for row in found:
        operator = load_operator(
            Warehouse().artifact_path("operators", row["operator"].removeprefix("ridge-"), "ridge.safetensors")
        )
        source, target = (residuals_at(reading, layer, "name", "entity_last") for layer in (row["source_layer"], LAYER))
        x, y = (torch.from_numpy(np.stack([part[entity] for entity in compared])) for part in (source, target))
        latent = row["feature_id"]
        a, through, same = (sae.encode(z)[:, latent].double().numpy() for z in (y, operator(x), x))
        assert row["n_entities"] == len(compared)
        for name, p in (("r2", through), ("r2_identity", same)):
            if not a.any():
                assert row[name] is None
                continue
            assert row[name] == pytest.approx(1 - ((p - a) ** 2).sum() / ((a - a.mean()) ** 2).sum(), abs=1e-4), name


EDITS = """select label, intervention, direction, draw, position, strength,
    avg((e.grade = 'correct')::int - (u.grade = 'correct')::int) as correct,
    avg((e.grade = 'wrong')::int - (u.grade = 'wrong')::int) as wrong,
    avg((e.grade = 'abstain')::int - (u.grade = 'abstain')::int) as abstain,
    avg(e.self_report - u.self_report) as self_report,
    avg(e.attention - u.attention) as attention,
    count(*) as n,
    count(e.attention - u.attention) as n_attention
from entity_interventions as e
join (select entity_id, grade, self_report, attention from entity_interventions
    where intervening = $key and intervention = 'none') as u using (entity_id)
where intervening = $key and intervention != 'none'
group by all"""


def test_every_edited_answer_has_its_unedited_one_and_controls_are_as_many_as_asked(study):
    own, key = study.settings.entities.interventions, key_of("entity_interventions")
    found = rows(None, "from entity_interventions where intervening = ?", [key])
    asked = {row["entity_id"]: row["label"] for row in found if row["intervention"] == "none"}
    assert sorted(asked.values()) == ["known"] * own.n_entities + ["unknown"] * own.n_entities
    edits: dict[tuple[Any, ...], set[str]] = {}
    for row in found:
        edits.setdefault((row["intervention"], row["direction"], row["draw"]), set()).add(row["entity_id"])
    assert all(entities == asked.keys() for entities in edits.values())
    assert sum(map(len, edits.values())) == len(found)
    draws: dict[tuple[str, str], int] = {}
    for intervention, direction, _ in edits:
        draws[intervention, direction] = draws.get((intervention, direction), 0) + 1
    expected, kinds = {("none", ""): 1}, ("steer", "ablate", "orthogonalise")
    for direction in ("known", "unknown"):
        expected |= {(kind, direction): 1 for kind in kinds}
        expected |= {(kind, f"random_latent_for_{direction}"): own.n_random for kind in kinds}
        expected |= {("steer", f"random_direction_for_{direction}"): own.n_random}
    assert draws == expected
    for row in found:
        assert (row["strength"] in own.strengths) == (row["intervention"] == "steer")
        assert row["strength"] is not None or row["intervention"] != "steer"
    latents = {(row["direction"], row["feature_id"]) for row in found if row["direction"] in ("known", "unknown")}
    assert latents == {("known", 0), ("unknown", 1)}
    assert not {0, 1} & {row["feature_id"] for row in found if "_for_" in row["direction"]}


def test_effects_are_those_of_the_answers_recomputed_in_sql(study):
    key = key_of("entity_interventions")
    changes = rows(None, EDITS, {"key": key})
    effects = rows(None, "from entity_intervention_effects where intervening = ? and label != 'text'", [key])
    assert len(effects) == 2 * 2 * 3 * 5
    assert len({round(row["change"], 9) for row in effects if row["change"] is not None}) > 5
    for row in effects:
        name = row["outcome"]
        (own,) = (c for c in changes if all(c[k] == row[k] for k in ("label", "intervention", "direction", "position")))
        controls = [
            c[name]
            for c in changes
            if (c["label"], c["intervention"], c["direction"])
            == (row["label"], row["intervention"], f"random_latent_for_{row['direction']}")
            and c[name] is not None
        ]
        assert row["n_entities"] == own["n"] == own["n_attention"]
        assert row["strength"] == own["strength"]
        assert row["change"] == pytest.approx(own[name], abs=1e-9)
        assert row["change_low"] <= row["change"] <= row["change_high"]
        assert row["n_draws"] == len(controls)
        if controls:
            reached = sum(abs(c) >= abs(own[name]) - 1e-12 for c in controls)
            assert row["control_mean"] == pytest.approx(np.mean(controls), abs=1e-9)
            assert row["control_sd"] == pytest.approx(np.std(controls, ddof=1), abs=1e-9)
            assert row["p_control"] == pytest.approx((1 + reached) / (1 + len(controls)))
    text = rows(None, "from entity_intervention_effects where intervening = ? and label = 'text'", [key])
    assert {row["outcome"] for row in text} == {"kl"}
    assert {row["n_entities"] for row in text} == {study.settings.entities.interventions.n_sequences}
    assert all(row["change"] > 0 for row in text if row["intervention"] == "steer")


def test_a_look_and_a_second_run_find_all_done_without_a_model(study, monkeypatch):
    before, keys = files(), stage_keys()
    language_model.cache_clear()
    monkeypatch.setattr("ato.models.load_model", lambda *_, **__: pytest.fail("nothing is left to ask"))
    assert complete_result("entities", study.settings) == (True, None)
    run(study, study.settings)
    assert files() == before
    assert stage_keys() == keys


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ({"answers": {"min_right_samples": 2}}, ["entity_labels", "entity_latents"]),
        ({"answers": {"batch_size": 7}}, []),
        ({"latents": {"n_ranked": 2}}, ["entity_latents"]),
        ({"latents": {"n_permutations": 19, "match_tokens": False}}, ["entity_latents"]),
    ],
)
def test_what_is_judged_anew_asks_and_reads_nothing_anew(study, monkeypatch, change, made):
    keys = stage_keys()
    language_model.cache_clear()
    monkeypatch.setattr("ato.models.load_model", lambda *_, **__: pytest.fail("nothing is left to ask"))
    run(study, changed(study.settings, interventions={"n_entities": 0}, **change))
    assert sorted(stage for stage, _ in stage_keys() - keys) == made


def test_other_positions_are_read_without_asking_and_other_interventions_change_nothing_before(study):
    keys = stage_keys()
    run(study, changed(study.settings, latents={"positions": ["entity_first"]}, interventions={"n_entities": 0}))
    read = stage_keys() - keys
    assert {stage for stage, _ in read} == {"entity_residuals", "entity_latents"}
    keys, before = stage_keys(), files()
    own = {"n_entities": 2, "n_validation": 1, "n_random": 1, "orthogonalise": False}
    run(study, changed(study.settings, interventions=own))
    assert {stage for stage, _ in stage_keys() - keys} == {"entity_interventions"}
    assert before.items() <= files().items()


def test_the_position_that_is_intervened_on_is_in_the_key_of_the_interventions(study):
    def of(*positions: str) -> Any:
        own = changed(study.settings, latents={"positions": list(positions)}).entities
        return entity_study(study.settings.study(study.collection), study.saes, study.settings.operators, own)

    one_way, other_way = of("entity_last", "question_end"), of("question_end", "entity_last")
    assert one_way.latents.key == other_way.latents.key
    assert one_way.interventions.key != other_way.interventions.key


def test_exported_arrays_hold_the_stored_residuals_in_the_order_of_their_table(study, tmp_path):
    done = CliRunner().invoke(app, ["export", "entity-residuals", "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    about = json.loads((tmp_path / "out" / "meta.json").read_text())
    table = pl.read_parquet(tmp_path / "out" / "rows.parquet")
    assert about["shape"] == [len(table), 16]
    assert set(table["label"].drop_nulls()) == {"known", "unknown", "invented"}
    for layer in (0, 1, LAYER):
        array = np.load(tmp_path / "out" / f"layer_{layer:02d}.npy", mmap_mode="r")
        assert array.dtype == np.float32
        for place, some in table.with_row_index().group_by("template", "position"):
            stored = residuals_at(about["reading"], layer, *place)
            assert len(stored) == len(some)
            for i, entity in some.select("index", "entity_id").iter_rows():
                assert np.array_equal(array[i], stored[entity])
    with pytest.raises(InputError, match="layer 3 was not read at entities"):
        export_entity_residuals(study.collection, tmp_path, 3)


def test_an_exported_entity_has_split_and_label_of_the_set_that_was_read(study, tmp_path):
    own = changed(study.settings, set={"seed": 5}, interventions={"n_entities": 0})
    run(study, own)
    export_entity_residuals(study.collection, tmp_path)
    table = pl.read_parquet(tmp_path / "rows.parquet").select("entity_id", "split").unique()
    latest = one("select entity_set from entities join stage_runs on key = entity_set order by started_at desc limit 1")
    stored = rows(None, "select entity_id, split from entities where entity_set = ?", [latest["entity_set"]])
    assert dict(table.iter_rows()) == {row["entity_id"]: row["split"] for row in stored}
    assert stored != rows(None, "select entity_id, split from entities where entity_set = ?", [key_of("entity_set")])


DEATHS = (
    Death("half", "entity_answers/*", 3),
    Death("before", "entity_residuals/*", 4),
    Death("after", "entity_interventions/*"),
)
N_KILLED = 12
"""Entities of each type and class in the runs that are killed."""


def test_a_killed_run_asks_only_what_was_not_answered_and_ends_in_the_bytes_of_an_undisturbed_one(
    study, forks, tmp_path
):
    what, log = "tests.flows.planted_entities:run_entities", tmp_path / "log"
    killed, expected = (tmp_path / name / "warehouse" for name in ("killed", "undisturbed"))
    for folder in (killed, expected):
        shutil.copytree(study.folder / "base" / "warehouse", folder)
    path = write_records(study.folder / "few.jsonl", records(n_per_class=N_KILLED))
    settings = changed(
        study.settings,
        set={"sources": [str(path)], "n_invented": 2},
        latents={"uncertainty": False},
        interventions={"n_entities": 2, "n_validation": 1, "n_random": 1, "strengths": [0.5], "orthogonalise": False},
    )
    assert forks.run(settings, expected, log, what=what) == 0, log.read_text()
    complete: dict[str, int] = {}
    for death in DEATHS:
        log.unlink()
        assert forks.run(settings, killed, log, death, what) == -signal.SIGKILL, f"{death} {log.read_text()}"
        assert complete.items() <= answer_files(killed).items()
        complete = answer_files(killed)
        if death is DEATHS[0]:
            assert len(complete) == 2
    assert len(complete) == 8 * N_KILLED // SMALL_PART
    assert forks.run(settings, killed, log, what=what) == 0, log.read_text()
    assert answer_files(killed) == complete
    assert parquet_files(Warehouse(killed)) == parquet_files(Warehouse(expected))
    tokens = [{run.key: run.tokens_run for run in manifests(Warehouse(folder))} for folder in (killed, expected)]
    assert tokens[0] == tokens[1]


def answer_files(folder: Path) -> dict[str, int]:
    """When the answers of each complete part were written."""
    runs = [run for run in manifests(Warehouse(folder)) if run.stage == "entity_answers"]
    written = {file.path for run in runs for file in run.files if file.table_name == "entity_answers"}
    return {path: (folder / path).stat().st_mtime_ns for path in written}


def test_two_dask_workers_write_the_rows_of_one_process(study, workers, tmp_path, monkeypatch):
    """Workers do not know of planted graders: here those of the product judge what the model says."""
    settings = changed(study.settings, interventions={"n_entities": 0})
    found = {}
    monkeypatch.setattr("tasks.entities.answers.grade", grade)
    for name in ("alone", "workers"):
        shutil.copytree(study.folder / "base" / "warehouse", tmp_path / name)
        monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / name))
        language_model.cache_clear()
        if name == "alone":
            run(study, settings)
        else:
            workers.use(tmp_path / name)
            entities(workers.do(settings), study.collection, study.saes, [])
        found[name] = parquet_files(Warehouse())
    assert len([run for run in manifests(Warehouse()) if run.stage == "entity_answers"]) == 2
    assert found["workers"] == found["alone"]
