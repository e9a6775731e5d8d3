"""Settings that cannot work are refused before any work, all faults at once, each with a value that works."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ato.errors import CorpusError, SettingsError
from ato.models.shapes import model_shape
from flows.cli.run import run
from flows.collect import collect
from flows.judging.faults import FaultySettings
from flows.judging.judge import faults_of, judge, judge_text
from flows.pipeline import pipeline
from flows.saes import saes
from flows.settings import Settings, load_settings, profile_names
from flows.stages import STAGES, stages_of
from tasks.collect import reading
from tasks.entities.sources import read_source, source_hashes
from tests.flows.tiny_study import tiny_settings, write_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model of 5 layers, 16 dimensions and 512 tokens of context, with a corpus."""
    folder = tmp_path_factory.mktemp("judged")
    tiny_settings(folder)
    return folder


@pytest.fixture
def profile(folder, tmp_path):
    """Path of a profile of the tiny study."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_settings(folder).model_dump(mode="json")))
    return str(path)


PIPELINE = [
    (
        "collect.layers=[0,9]",
        r"collect.layers = \[0, 9\]: the model has no layers 9: use layers 0 to 4, such as \[0\]$",
    ),
    ("collect.layers=[0,1,2]", "operators.source_layers .*layers 3 are not among collect.layers"),
    ("collect.attention_layers=[7]", "the model has no layers 7"),
    ("collect.attention_layers=[1]", "model.attention = 'sdpa': .*set model.attention=eager"),
    ("collect.seq_len=600", "context has 512 tokens: use at most 512"),
    ("collect.min_len=33", "sequences have at most 32 tokens .*use at most 32"),
    ("collect.n_tokens=39", "collect.n_tokens = 39: .*use at least 40"),
    ("collect.corpus=nowhere.txt", r"collect.corpus = 'nowhere.txt': corpus not found"),
    ("collect.corpus=[nowhere.txt]", r"corpus not found \(nowhere.txt\)"),
    ("collect.corpus=hub:a:b:c:d", "invalid hub dataset"),
    ("model.name=./nowhere", "model.name = './nowhere': model not found"),
    ("model.device=cuda:99", "model.device = 'cuda:99': no such device"),
    ("model.device=gpu", "model.device = 'gpu': unknown device"),
    ("operators.source_layers=[0,5]", "operators.source_layers .*no layers 5: use layers 0 to 4, such as \\[0\\]"),
    (
        "operators.leaps=[1,4]",
        r"1 \+ 4 is behind the last layer, 4: use operators.leaps=\[1\], or operators.target_layers",
    ),
    ("operators.leaps=[40]", r"use operators.leaps=\[3\]$"),
    ("operators.target_layers=[2,4]", r"no source layer plus leap ends at 4: use \[2\]"),
    ("operators.rank=17", r"operators.rank = 17: the model has 16 dimensions \(rrr\): use 1 to 16"),
    ("operators.position_policy=offset:31", "use at most offset:30"),
    ("operators.position_policy=attended", "set model.attention=eager"),
    ("operators.methods=[ridge,rrr_features]", None),
    ("features.score=false operators.methods=[ridge,rrr_features]", "rrr_features need selected features"),
    ("saes.layers=[] operators.methods=[rrr_features]", "rrr_features need an SAE"),
    ("saes.layers=[2,8]", r"saes.layers = \[2, 8\]: the model has no layers 8"),
    ("saes.layers=[2,4]", r"no pair ends at 4, .*such as operators.leaps=\[1, 2, 3\]"),
    ("operators.target_layers=[2]", r"no pair ends at 3, .*operators.target_layers=\[2, 3\]"),
    ("saes.k=25", "saes.k = 25: the SAE has saes.d_sae=24 features: use 1 to 24"),
    ("saes.buffer_rows=511", "use at least 512"),
    ("saes.n_tokens=255", "saes.n_tokens = 255: one step takes saes.batch_size=256 tokens"),
    ("saes.layers=[] saes.paths={2: nowhere, 3: nowhere}", r"saes.paths.2 = 'nowhere': there is no such file"),
    ("saes.releases={2: nowhere}", r"saes.releases.2 = 'nowhere'"),
    ("saes.releases={2: 'a:b'} saes.paths={2: nowhere}", r"layers \[2\] have a release too"),
    ("features.top_percent=41", "use at most 40"),
    ("explain.ids={2: nonsense}", "explain.ids.2 = 'nonsense'"),
    ("explain.ids={1: model/source}", "layer 1 has no SAE"),
    ("causal.method=svd", "operators.methods has no svd: use one of ridge"),
    ("causal.pairs=[[0,1],[0,3]]", r"no operators for 0 -> 3: use \[\[0, 1\]\]"),
    ("saes.layers=[] ", r"causal.pairs = 'null': no layer pair ends at a layer with an SAE \(\[\]\): name some"),
    ('causal.positions=["3,31","all"]', r"nothing is predicted behind position 31 .*use positions up to 30"),
]


@pytest.mark.parametrize(("overrides", "message"), PIPELINE, ids=[overrides for overrides, _ in PIPELINE])
def test_what_would_fail_late_or_in_silence_is_a_fault_of_its_setting(profile, overrides, message):
    settings = load_settings(profile, re.split(r" (?=\w+\.)", overrides.strip()))
    found = [str(fault) for fault in faults_of(settings, stages_of("pipeline", settings))]
    if message is None:
        assert not found
    else:
        assert any(re.search(message, fault) for fault in found), found


ENTITIES = [
    ("entities.set.sources=[citys]", "there is no set or file citys: use cities"),
    ("entities.answers.attributes=[foo]", "no question about foo"),
    ("entities.answers.attributes=[]", "use null for all attributes"),
    ("entities.answers.min_right_samples=11", "use 1 to 10"),
    ("entities.answers.max_new_tokens=512", "context of 512 tokens: use at most 256"),
    ("entities.answers.family=chat_free", "no chat template: use family continuation"),
    ("entities.latents.templates=[nam]", "no entity can be read in 'nam'"),
    ('entities.latents.templates=["{entity}[[a]] [[a]]"]', "place a is marked twice"),
    ("entities.latents.positions=[last]", "no prompt has the position last: use entity_first"),
    ("entities.latents.positions=[last_eoi]", "no prompt has the position last_eoi"),
    ("entities.latents.layers=[2,9]", "the model has no layers 9"),
    ("entities.latents.layers=[2]", r"layers \[3\] have an SAE and are not among them: use \[2, 3\]"),
    ("entities.latents.method=svd", "operators.methods has no svd"),
    ("entities.interventions.n_random=24", "use 1 to 23"),
    ("saes.layers=[]", "no SAE whose features could be looked at"),
]


TRANSCODER = "{layer: 2, site: mlp_in, target_site: mlp_out}"
SAE_STUDY = [
    ("sae_study.saes=[{layer: 2, target_site: mlp_out}]", "does not say what it reads: set its site"),
    ("sae_study.saes=[{layer: 2, skip: true}]", "an SAE has no connection past its features"),
    ("sae_study.saes=[{layer: 2, site: mlp_out, target_site: mlp_in}]", "mlp_out does not come before mlp_in"),
    ("sae_study.saes=[{layer: 2, site: resid_post, target_site: mlp_neurons}]", "resid_post does not come before"),
    (f"sae_study.saes=[{TRANSCODER[:-1]}, architecture: gated}}]", "gated cannot be trained: use topk or batchtopk"),
    (f"sae_study.saes=[{TRANSCODER[:-1]}, release: 'a:b'}}]", "download it, and give its folder as path"),
    (f"sae_study.saes=[{TRANSCODER}] sae_study.training.dead_features=resample", "use auxiliary or none"),
    (f"sae_study.saes=[{TRANSCODER}] sae_study.training.held_out_every=5", "not stopped early: leave it out"),
    ("sae_study.saes=[{layer: 2, source_layer: 2}]", "its source layer is not an earlier one"),
    ("sae_study.saes=[{layer: 2, source_layer: 1, site: mlp_out}]", "operators are of the collection's site"),
    ("sae_study.saes=[{layer: 2, source_layer: 1, path: ./sae}]", "trained here, and not read from files"),
    (
        "sae_study.saes=[{layer: 3, source_layer: 0}]",
        "no operator of this pair of layers: add 0 to operators.source_layers",
    ),
    ("sae_study.saes=[{layer: 2, source_layer: 1, method: lasso}]", "add lasso to operators.methods"),
    ("sae_study.saes=[{layer: 2, source_layer: 1}] operators.position_policy=previous", "x is not of the same token"),
    ("sae_study.saes=[{layer: 2, d_sae: 8, k: 9}]", "of 8 features cannot have 9 active ones"),
]


@pytest.mark.parametrize(("overrides", "message"), SAE_STUDY, ids=[message for _, message in SAE_STUDY])
def test_settings_of_saes_and_transcoders_are_judged_where_they_are_studied(profile, overrides, message):
    settings = load_settings(profile, re.split(r" (?=sae_study|operators)", overrides))
    found = [str(fault) for fault in faults_of(settings, stages_of("sae_study", settings))]
    assert any(re.search(message, fault) for fault in found), found


@pytest.mark.parametrize(("override", "message"), ENTITIES, ids=[override for override, _ in ENTITIES])
def test_settings_of_entities_are_judged_where_entities_are_asked_for(profile, override, message):
    settings = load_settings(
        profile, [override, "entities.interventions.n_random=20"][: 1 + ("n_random" not in override)]
    )
    found = [str(fault) for fault in faults_of(settings, stages_of("entities", settings))]
    assert any(re.search(message, fault) for fault in found), found


LABEL = (
    ("label.layers=[0,2]", r"label.layers = \[0, 2\]: layers 0 have no SAE: use layers of \[2, 3\]"),
    ("label.layers=[]", r"label.layers = \[\]: there is no SAE whose features could be labelled: name layers"),
    ("label.adapter=/nowhere", r"label.adapter = '/nowhere': no config.json in the folder"),
    ("label.adapter_layers=[1]", r"layers 1 have no adapter at work: set label.adapter"),
    ("label.features={1: [0]}", "layers 1 have no SAE"),
    ("label.n_trials=50", "collect 40 windows: use at most 40"),
    ("label.n_trials=30", "n_silent=24 silent windows are collected per tier: use at most 24"),
    ("label.n_candidates=3", "overlap writes the same words each time: use 1"),
    ("label.second_judge=overlap", "would agree with itself"),
    ("label.judge=chat label.second_judge=chat", "would agree with itself"),
    ("label.judge=chat label.chat.max_cost=1", "without prices .*set label.chat.prompt_price"),
    ("label.second_judge=chat label.second_chat.max_cost=1", "label.second_chat.max_cost = 1"),
    ("label.label_space=nowhere.yaml", "no label space 'nowhere.yaml'"),
)


@pytest.mark.parametrize(("overrides", "message"), LABEL, ids=[overrides for overrides, _ in LABEL])
def test_settings_of_labelling_are_judged_where_features_are_labelled(profile, overrides, message):
    settings = load_settings(profile, _each(overrides))
    found = [str(fault) for fault in faults_of(settings, stages_of("label", settings))]
    assert any(re.search(message, fault) for fault in found), found
    assert not any(
        fault.startswith("label.") for fault in map(str, faults_of(settings, stages_of("pipeline", settings)))
    )


def test_a_judge_that_is_not_installed_is_a_fault_before_anything_is_collected(profile, monkeypatch):
    monkeypatch.setattr("ato.autointerp.sentence_encoder.PACKAGE", "no-such-package")
    settings = load_settings(profile, ["label.second_judge=embedding"])
    found = [str(fault) for fault in faults_of(settings, stages_of("label", settings))]
    assert any("label.second_judge = 'embedding': package no-such-package is not installed" in one for one in found)
    (fault,) = [str(fault) for fault in faults_of(settings, stages_of("embed", settings)) if "package" in str(fault)]
    assert fault.startswith("embed: package no-such-package is not installed: run `pip install")


def _each(overrides: str) -> list[str]:
    """Several overrides in one text, each with the name of its stage."""
    return re.split(r" (?=label\.)", overrides)


GRAPHS = (
    ("graphs.layers=[0,2]", r"graphs.layers = \[0, 2\]: layers 0 have no SAE: use layers of \[2, 3\]"),
    ("graphs.prompts=[]", "there is no prompt: give one"),
    ("graphs.prompts=[{text: ' '}]", "a prompt is empty"),
    ("graphs.prompts=[{text: a b, against: c}]", "0 targets are against 'c': name one target"),
    ("graphs.prompts=[{text: a b, targets: [c], against: c}]", "less itself is 0: name two tokens"),
    ("graphs.prompts_from=nowhere", "there is no such file or folder"),
    ("graphs.kinds=[transport]", "between two of the layers .*use attribution"),
    ("graphs.kinds=[transport] graphs.transcoders=[x]", "transcoders have no transport graph"),
    ("graphs.kinds=[transport] graphs.adapter=base_path", "transcoders have no transport graph"),
    ("graphs.adapter=base_path graphs.transcoders=[x]", "leave out transcoders or adapter"),
    ("graphs.adapter=base_path graphs.layers=[2]", "leave out layers or adapter"),
    ("collect.site=mlp_out graphs.seed=1", "the collection reads mlp_out: use resid_post"),
)


@pytest.mark.parametrize(("overrides", "message"), GRAPHS, ids=[overrides for overrides, _ in GRAPHS])
def test_settings_of_graphs_are_judged_where_graphs_are_made(profile, overrides, message):
    settings = load_settings(profile, re.split(r" (?=graphs\.)", overrides))
    found = [str(fault) for fault in faults_of(settings, stages_of("graphs", settings))]
    assert any(re.search(message, fault) for fault in found), found
    of_pipeline = map(str, faults_of(settings, stages_of("pipeline", settings)))
    assert not any(fault.startswith("graphs.") for fault in of_pipeline)


COMPARISONS = (
    ("compare.method=ridge", "there is nothing to compare with"),
    ("compare.models=[{folder}]", "no checkpoint in this folder"),
    ("compare.collections=[gone]", "^compare.collections = 'gone': "),
    ("compare.models=[/nowhere]", "^compare.models = '/nowhere': model not found"),
    ("compare.models=[smollm2-135m]", "width 576 and 30 blocks, the study's model has 16 and 5"),
    ("compare.method=rrr_features", "has no counterpart in another: use ridge"),
    ("compare.method=lasso", "the study fits no such operator: use one of"),
    ("saes.layers=[0] compare.models=[x]", r"no SAE stands where an operator ends: .* end at \[0\]"),
)


@pytest.mark.parametrize(("overrides", "message"), COMPARISONS, ids=[overrides for overrides, _ in COMPARISONS])
def test_settings_of_comparisons_are_judged_before_anything_is_collected(profile, tmp_path, overrides, message):
    settings = load_settings(profile, overrides.replace("{folder}", str(tmp_path)).split(" "))
    found = [str(fault) for fault in faults_of(settings, stages_of("compare", settings))]
    assert any(re.search(message, fault) for fault in found), found
    assert not any(
        fault.startswith("compare.") for fault in map(str, faults_of(settings, stages_of("pipeline", settings)))
    )


def test_entities_are_read_from_the_users_own_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fact = {"attribute_type": "population", "attribute_value": "1"}
    town = {"entity": "Ulm", "entity_type": "city", "attributes": [fact]}
    (tmp_path / "towns.jsonl").write_text(json.dumps(town) + "\n")
    settings = tiny_settings(folder, entities={"set": {"sources": ["~/towns.jsonl"]}})
    judge(settings, "entities")
    assert len(source_hashes(settings.entities.set.sources)) == 1
    assert [entity.name for entity in read_source("~/towns.jsonl")] == ["Ulm"]


def test_all_settings_that_lack_a_layer_name_one_list_that_works(folder):
    found = faults_of(tiny_settings(folder, collect={"layers": [0, 1]}), stages_of("pipeline", tiny_settings(folder)))
    (works,) = {fault.works for fault in found}
    layers = json.loads(re.search(r"collect.layers=(\[.*?\])", works)[1])
    compare = {"models": [str(folder / "model")]}
    assert not faults_of(tiny_settings(folder, collect={"layers": layers}, compare=compare), STAGES.values())


def test_settings_that_work_have_no_faults(folder):
    for name in profile_names():
        judge(load_settings(name), "pipeline")
    judge(load_settings("demo-entities"), "entities")
    judge(tiny_settings(folder), "pipeline")


def test_what_does_nothing_beside_what_works_is_said_and_stops_nothing(folder, capsys):
    """An SAE below every pair has features of its own; only where no pair ends at any SAE there is nothing to evaluate."""
    settings = tiny_settings(folder, saes={"layers": [0, 2, 3], "d_sae": 24, "k": 4})
    judge(settings, "pipeline", tell=True)
    assert "no pair ends at 0" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(FaultySettings, match="no pair ends at 0"):
        judge(tiny_settings(folder, saes={"layers": [0]}), "evaluate")


def test_only_stages_that_run_are_judged(folder):
    settings = tiny_settings(folder, causal={"method": "svd"})
    judge(settings, "evaluate")
    with pytest.raises(FaultySettings, match="svd"):
        judge(settings, "causal")


def test_all_faults_come_at_once_a_line_each(profile):
    settings = load_settings(profile, ["operators.rank=17", "saes.k=25", "causal.method=svd"])
    with pytest.raises(SettingsError) as caught:
        judge(settings, "pipeline")
    names = [line.split(" = ")[0] for line in str(caught.value).splitlines()]
    assert names == ["saes.k", "operators.rank", "causal.method"]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("flow", [pipeline, collect, saes], ids=lambda flow: flow.name)
def test_every_flow_refuses_before_it_looks_for_anything(folder, flow, monkeypatch, tmp_path):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    with pytest.raises(FaultySettings, match="behind the last layer"):
        flow.fn(tiny_settings(folder, operators={"source_layers": [0], "leaps": [9]}))
    assert not (tmp_path / "warehouse").exists()


@pytest.mark.parametrize("stage", [stage for stage in STAGES.values() if stage.judge], ids=lambda stage: stage.name)
def test_the_judge_of_a_stage_can_be_asked_without_knowing_the_model(stage, folder):
    assert not faults_of(
        tiny_settings(folder, model={"name": "someone/elsewhere"}, compare={"models": ["someone/else"]}), [stage]
    )


def test_every_stage_with_settings_has_a_judge():
    without = {name for name, stage in STAGES.items() if not stage.judge}
    assert without & set(Settings.model_fields) == {"report"}


@pytest.mark.parametrize("estimate", [True, False])
def test_run_and_estimate_refuse_alike(profile, estimate):
    with pytest.raises(FaultySettings, match=r"saes\.k = 25"):
        run("pipeline", profile=profile, set_=["saes.k=25"], preset=None, estimate=estimate)


def test_the_command_line_says_all_faults_and_makes_nothing(profile, tmp_path):
    command = [sys.executable, "-m", "flows.cli", "run", "pipeline", "-p", profile, "-s", "saes.k=25"]
    done = subprocess.run(
        [*command, "-s", "operators.rank=17"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ATO_WAREHOUSE": str(tmp_path / "w")},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len([line for line in done.stderr.splitlines() if "saes.k" in line or "operators.rank" in line]) == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "w").exists()


def test_duplicates_are_made_once():
    settings = Settings.model_validate(
        {
            "operators": {"methods": ["ridge", "mean", "ridge"], "alphas": [1, 1.0, 10], "leaps": [2, 2]},
            "causal": {
                "positions": ["7,3", "all", "all", "03,7,7"],
                "interventions": ["mean", "mean"],
                "pairs": [[8, 10], [8, 10]],
            },
            "entities": {"interventions": {"strengths": [1, 1.0]}},
            "evaluate": {"ranks": [4, 4]},
        }
    )
    assert settings.operators.methods == ["ridge", "mean"]
    assert settings.operators.alphas == [1.0, 10.0]
    assert settings.operators.leaps == [2]
    assert (settings.causal.positions, settings.causal.interventions) == (["3,7", "all"], ["mean"])
    assert settings.causal.pairs == [(8, 10)]
    assert settings.entities.interventions.strengths == [1.0]
    assert settings.evaluate.ranks == [4]


@pytest.mark.parametrize(
    "override",
    [
        "operators.alphas=[.inf]",
        "operators.alphas=[.nan]",
        "operators.alphas=[-1]",
        "operators.l1_alphas=[.inf]",
        "operators.train_fractions=[.nan]",
        "operators.train_fractions=[0]",
        "entities.interventions.strengths=[.inf]",
        "entities.interventions.strengths=[-1]",
        "entities.answers.temperature=.inf",
        "collect.max_norm_multiple=.inf",
        "saes.lr=.inf",
        "saes.max_fvu=.nan",
        "saes.seed=-1",
        "causal.seed=-1",
        "collect.split_seed=-1",
        "evaluate.transported_above=1.5",
        "operators.source_layers=[-1]",
        "collect.layers=[]",
        "causal.pairs=[]",
        "collect.corpus=''",
        "collect.corpus=[]",
        "explain.api_url=neuronpedia.org",
    ],
)
def test_values_that_no_model_could_take_are_refused_as_settings_are_read(override):
    with pytest.raises(FaultySettings, match=re.escape(override.partition("=")[0])) as caught:
        load_settings("demo", [override])
    assert len(str(caught.value).splitlines()) == 1


def test_all_wrong_values_and_names_come_at_once():
    with pytest.raises(FaultySettings) as caught:
        load_settings("demo", ["collect.n_tokens=many", "colect.n_folds=2", "saes.k=0"])
    lines = str(caught.value).splitlines()
    assert "colect: unknown setting: did you mean collect?" in lines
    assert any(
        line.startswith("saes.k = 0: ") and "the default is 32; see `ato settings saes`" in line for line in lines
    )
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "[{layer: 2, target_sites: mlp_out}]",
            "saes.0.target_sites: unknown setting: did you mean .*saes.0.target_site",
        ),
        (
            "[{layer: 2}, {layer: 2, site: foo}]",
            "saes.1.site = 'foo': input should be 'attn_z', 'attn_out', 'mlp_in', 'mlp_neurons', 'mlp_out' or 'resid_post'",
        ),
        ("[{layer: 2, k: 0}]", "saes.0.k = 0: .*the default is 32"),
        ("[{site: mlp_in}]", "saes.0.layer = .*field required: see"),
        ("[3]", "saes.0"),
    ],
)
def test_a_mistake_within_a_list_of_groups_is_named_by_its_place(given, message):
    with pytest.raises(FaultySettings, match=message) as caught:
        load_settings("demo", [f"sae_study.saes={given}"])
    assert len(str(caught.value).splitlines()) == 1


def test_the_form_knows_what_each_setting_may_be():
    """What a form can refuse by itself: the schema that a deployment is registered with."""
    schema = json.loads(json.dumps(Settings.model_json_schema()))["$defs"]
    assert schema["OperatorSettings"]["properties"]["source_layers"]["items"]["minimum"] == 0
    assert schema["EvaluateSettings"]["properties"]["transported_above"]["maximum"] == 1
    assert schema["EntityInterventionSettings"]["properties"]["strengths"]["items"]["exclusiveMinimum"] == 0
    assert schema["SAESettings"]["properties"]["seed"]["minimum"] == 0


def test_the_shape_of_a_model_has_its_context(folder):
    assert model_shape(str(folder / "model")).context == 512
    assert model_shape("gpt2").context == 1024


def test_too_few_documents_are_found_without_the_model_and_the_message_names_what_works(folder, tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "few.jsonl", n_documents=18)
    settings = tiny_settings(folder, collect={"corpus": str(corpus), "n_folds": 9})
    with pytest.raises(CorpusError) as caught:
        judge_text(settings, "collect")
    works = int(re.search(r"set collect\.n_folds=(\d+)", str(caught.value))[1])
    assert 2 <= works < 9
    judge_text(tiny_settings(folder, collect={"corpus": str(corpus), "n_folds": works}), "collect")
    assert "about 76 documents fill 9 folds" in str(caught.value)


def test_a_share_of_the_train_documents_without_any_is_found_and_the_smallest_that_works_is_named(folder):
    settings = tiny_settings(folder, operators={"source_layers": [0], "leaps": [1], "train_fractions": [0.002, 0.4, 1]})
    with pytest.raises(
        CorpusError, match=r"first 0\.002 of the train documents .*train_fractions.*use fractions from 0\.4"
    ):
        judge_text(settings, "operators")


def test_interventions_need_a_test_sequence_of_full_length(folder, tmp_path):
    corpus = write_corpus(tmp_path / "short.jsonl", n_documents=200, words=12)
    settings = tiny_settings(folder, collect={"corpus": str(corpus), "seq_len": 128})
    judge_text(settings, "evaluate")
    with pytest.raises(
        CorpusError, match=r"no test sequence has the full length of 128 tokens .*set collect\.seq_len=\d+"
    ):
        judge_text(settings, "causal")


def test_the_tokenizer_is_not_loaded_where_the_text_is_surely_enough(monkeypatch):
    def refused(*args, **options):
        raise AssertionError

    monkeypatch.setattr(reading, "load_tokenizer", refused)
    judge_text(load_settings("demo"), "pipeline")
