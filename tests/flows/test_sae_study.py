"""The flow ``sae_study`` on a tiny model: many SAEs in one pass, compared, looked at, killed, resumed, shared out."""

import io
import shutil
import signal
from contextlib import redirect_stderr
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ato.errors import LayerError, SAEError
from ato.numerics import devices
from ato.residuals import run_pass
from ato.residuals.site_pairs import split_pairs
from ato.sae_studies.metrics import METRICS
from ato.saes import load_sae
from ato.saes.training.trainer import train_sae
from ato.saes.transcoder_files import load_transcoder_folder
from flows.cli import app
from flows.sae_study import sae_study
from flows.settings import Settings
from tasks.collect.sources import residual_source, site_source
from tasks.engine.model_cache import language_model
from tasks.sae_study import families, looks
from tasks.sae_study.stages import SAEStudy
from tasks.sae_study.task import study_saes
from tasks.steering.saes import sae_of
from tests.flows.forked_stages import Death
from tests.flows.planted_sae_study import STUDY, small_study
from tests.flows.test_fault_injection import parts as parquet_files
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

N_SAES = len(STUDY["architectures"]) * len(STUDY["k"]) * len(STUDY["seeds"])
N_BASELINES = 3 * len(STUDY["k"])


@pytest.fixture(scope="module")
def study(tmp_path_factory, prefect_server):
    """The flow's first run; ATO_WAREHOUSE points at it while the module runs."""
    folder = tmp_path_factory.mktemp("sae_study")
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as printed:
        patch.setenv("ATO_WAREHOUSE", str(folder / "data" / "warehouse"))
        settings = small_study(folder)
        key = sae_study(settings)
        (collection,) = {row["collection"] for row in rows(None, "select collection from sae_studies")}
        yield SimpleNamespace(
            folder=folder, settings=settings, key=key, collection=collection, printed=printed.getvalue()
        )


def changed(settings: Settings, **changes: object) -> Settings:
    """Settings with other values of the study."""
    values = settings.model_dump(exclude_unset=True)
    return Settings.model_validate(values | {"sae_study": values["sae_study"] | changes})


def plainly(study: SimpleNamespace, settings: Settings) -> str:
    """The study as a plain function, on the collection that is there."""
    return study_saes.fn(settings.study(study.collection), settings.studied_saes)


def test_every_sae_and_every_baseline_has_every_metric_or_the_reason_why_not(study):
    assert len(rows(None, "from studied_saes where source = 'trained'")) == N_SAES
    assert len(rows(None, "from studied_saes where source = 'baseline'")) == N_BASELINES
    found = rows(None, "select sae, list(distinct metric) as metrics from sae_quality group by sae")
    between_seeds = {"matched_cosine", "matched_share", "max_cosine"}
    expected = (
        set(METRICS) - between_seeds - {"innovation_fvu", "recovery", "probe_accuracy", "attribution_rank_agreement"}
    )
    assert len(found) == N_SAES + N_BASELINES
    assert all(expected <= set(row["metrics"]) for row in found)
    assert not rows(None, "from sae_quality where value is null and reason is null")
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_l0_is_what_was_asked_for_where_it_is_exact_and_baselines_have_it_too(study):
    exact = rows(None, "select architecture, k, l0 from sae_comparison where architecture in ('topk', 'pca', 'basis')")
    assert len(exact) == 2 * (len(STUDY["seeds"]) + 2)
    assert all(row["l0"] == pytest.approx(row["k"], abs=1e-6) for row in exact)


def test_fvu_and_shrinkage_are_those_of_all_test_tokens_at_once(study):
    source = residual_source(study.settings.study(study.collection))
    x = torch.cat([block.residuals[2] for block in source.blocks([2], ["test"])]).double()
    for row in rows(
        None,
        "select path, sae, fvu, shrinkage, explained_variance from sae_comparison inner join latest_sae_study using (sae)",
    ):
        sae = load_sae(Warehouse().artifact_path(*row["path"].split("/")[1:]))
        x_hat = sae.reconstruct(x.float()).double()
        fvu = (x - x_hat).square().sum() / (x - x.mean(0)).square().sum()
        slope = ((x - x.mean(0)) * (x_hat - x_hat.mean(0))).sum() / (x_hat - x_hat.mean(0)).square().sum()
        assert row["fvu"] == pytest.approx(float(fvu), rel=1e-5)
        assert row["explained_variance"] == pytest.approx(1 - float(fvu), rel=1e-4)
        assert row["shrinkage"] == pytest.approx(float(slope), rel=1e-4)


def test_an_sae_of_the_study_is_the_one_that_is_trained_alone(study):
    own = rows(None, "select weights_hash from studied_saes where architecture = 'topk' and k = 3 and seed = 0")
    training = study.settings.sae_study.training
    alone = train_sae(
        residual_source(study.settings.study(study.collection)),
        2,
        architecture="topk",
        d_sae=24,
        k=3,
        n_tokens=training.n_tokens,
        batch_size=training.batch_size,
        buffer_rows=training.buffer_rows,
        lr=training.lr,
        seed=0,
    )
    assert own[0]["weights_hash"] == alone.sae.weights_hash


def test_the_texts_two_kinds_are_told_apart_and_random_features_do_worse(study):
    probes = rows(
        None,
        "select reader, avg(auroc) as auroc, count(*) as n from sae_probing where stratum = 'folder' group by reader",
    )
    auroc = {row["reader"]: row["auroc"] for row in probes}
    assert auroc["best"] > 0.9
    assert auroc["best"] > auroc["random"]
    assert auroc["dense"] > 0.9


def test_snapshots_end_in_the_sae_itself_and_every_feature_has_a_life(study):
    looked_at = rows(None, "select sae from sae_studies where looked_at")
    assert len(looked_at) == N_SAES / 2
    last = rows(
        None,
        "select sae, max_by(mean_final_cosine, step) as cosine, max_by(emerged_share, step) as share from sae_snapshots group by sae",
    )
    assert len(last) == len(looked_at)
    assert all(row["cosine"] == pytest.approx(1) and row["share"] == pytest.approx(1) for row in last)
    assert len(rows(None, "from feature_emergence")) == 24 * len(looked_at)
    places = rows(None, "select count(*) as n, count(distinct sae) as saes from feature_map")[0]
    assert places["saes"] == len(looked_at)


def test_after_an_early_stop_the_last_snapshot_is_the_sae_that_was_kept(study):
    training = study.settings.sae_study.training.model_dump() | {"held_out_every": 2, "patience": 1, "lr": 0.05}
    plainly(study, changed(study.settings, training=training, architectures=["topk"], k=[3], seeds=[0]))
    newest = "select sae, label from latest_sae_study where source = 'trained'"
    (own,) = rows(
        None, f"select s.sae, n_tokens_trained, fvu from ({newest}) as s inner join sae_comparison using (sae)"
    )
    steps = rows(None, "select * from sae_snapshots where sae = ? order by step", [own["sae"]])
    log = rows(None, "select * from sae_training where sae = ? order by step", [own["sae"]])
    best = min((row for row in log if row["fvu_held_out"] is not None), key=lambda row: row["fvu_held_out"])
    assert steps[-1]["step"] == best["step"]
    assert steps[-1]["fvu"] == pytest.approx(own["fvu"], rel=1e-6)
    assert own["n_tokens_trained"] == log[-1]["tokens"]


def test_a_further_seed_trains_the_new_saes_only(study):
    before = {run.key for run in manifests(Warehouse()) if run.stage == "sae_study_weights"}
    key = plainly(study, changed(study.settings, seeds=[0, 1, 2], architectures=["topk"]))
    new = [run.key for run in manifests(Warehouse()) if run.stage == "sae_study_weights" and run.key not in before]
    assert key != study.key
    assert len(new) == len(STUDY["k"])
    assert all("-s2-" in name for name in new)
    assert rows(None, "select count(*) as n from sae_agreement where study = ?", [key])[0]["n"] == 3 * len(STUDY["k"])


def test_a_study_of_a_layer_that_was_not_collected_says_so(study):
    with pytest.raises(LayerError, match=r"layers \[4\] were not collected"):
        plainly(study, changed(study.settings, layers=[4]))


def test_a_saved_sae_is_compared_with_trained_ones_and_named_by_its_path(study, tmp_path):
    path = rows(None, "select path from studied_saes where architecture = 'jumprelu' limit 1")[0]["path"]
    copy = tmp_path / "mine"
    shutil.copytree(Warehouse().artifact_path(*path.split("/")[1:]), copy)
    (copy / "training.json").unlink()
    plainly(study, changed(study.settings, architectures=["topk"], k=[3], seeds=[0], paths={2: str(copy)}))
    (row,) = rows(None, "select source, architecture, n_tokens_trained from studied_saes where source = ?", [str(copy)])
    assert (row["architecture"], row["n_tokens_trained"]) == ("jumprelu", None)


def test_ato_show_prints_the_comparison(study):
    shown = CliRunner().invoke(app, ["show", "sae_study", "--collection", study.collection])
    assert shown.exit_code == 0
    assert "topk" in shown.output
    assert "pca" in shown.output


def test_test_tokens_are_read_once_for_all_saes_of_a_layer_that_are_looked_at(study, tmp_path, monkeypatch):
    shutil.copytree(study.folder / "data" / "warehouse", tmp_path / "w", ignore=shutil.ignore_patterns("locks"))
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "w"))
    passes: list[int] = []

    def counted(source, consumers, **options):
        passes.append(len(consumers))
        return run_pass(source, consumers, **options)

    for module in (looks, families):
        monkeypatch.setattr(module, "run_pass", counted)
    looking = STUDY["looking"] | {"emerged_cosine": 0.8, "attribution_sequences": 0}
    plainly(study, changed(study.settings, looking=looking))
    looked_at = len(STUDY["architectures"]) * len(STUDY["k"])
    assert passes == [2 * looked_at]  # of each: its statistics and its snapshots; no family, so no pass for families


def test_trained_weights_are_keyed_by_the_precision_that_auto_means_on_this_machine(study, monkeypatch):
    def key(multiplies: bool, precision: str) -> str:
        monkeypatch.setattr(devices, "_multiplies_bfloat16", lambda device: multiplies)
        settings = changed(study.settings, training=STUDY["training"] | {"precision": precision})
        return SAEStudy(settings.study(study.collection), settings.studied_saes).members[0].weights.key

    assert key(False, "auto") == key(True, "float32")
    assert key(True, "auto") == key(False, "bfloat16")
    assert key(True, "auto") != key(False, "auto")


DEATHS = (
    Death("checkpoint", count=2),  # of the transcoders, which come first
    Death("checkpoint", count=3),
    Death("half", "artifacts/studied_sae_snapshots/*", 2),
    Death("before", "artifacts/studied_saes/*", 5),
    Death("after", "sae_quality/*", 2),
    Death("before", "feature_emergence/*"),
)


def test_a_study_killed_at_six_moments_ends_in_the_bytes_of_an_undisturbed_one(study, forks, tmp_path):
    what, log = "tests.flows.planted_sae_study:run_study", tmp_path / "log"
    killed, expected = (tmp_path / name / "warehouse" for name in ("killed", "undisturbed"))
    pair = {"layer": 2, "site": "mlp_in", "target_site": "mlp_out", "d_sae": 24, "k": 3}
    transcoders = [pair, pair | {"architecture": "batchtopk", "skip": True}]
    settings = changed(study.settings, architectures=["topk", "jumprelu"], k=[3], seeds=[0], saes=transcoders)
    assert forks.run(settings, expected, log, what=what) == 0, log.read_text()
    for death in DEATHS:
        log.unlink()
        assert forks.run(settings, killed, log, death, what) == -signal.SIGKILL, f"{death} {log.read_text()}"
    log.unlink()
    assert forks.run(settings, killed, log, what=what) == 0, log.read_text()
    assert parquet_files(Warehouse(killed)) == parquet_files(Warehouse(expected))
    for name in ("studied_saes", "studied_sae_snapshots"):
        files = [
            sorted(p.relative_to(f) for p in f.rglob("*.safetensors") if ".staging" not in str(p))
            for f in (killed, expected)
        ]
        assert files[0] == files[1]
        assert all((killed / file).read_bytes() == (expected / file).read_bytes() for file in files[0]), name
    assert not any((killed / "checkpoints").iterdir())


def test_two_dask_workers_write_the_rows_of_one_process(study, workers, tmp_path, monkeypatch):
    pair = {"site": "mlp_in", "target_site": "mlp_out", "d_sae": 24, "k": 3}
    transcoders = [pair | {"layer": layer} for layer in (2, 3)]
    settings = changed(study.settings, layers=[2, 3], architectures=["topk"], k=[3], seeds=[0], saes=transcoders)
    found = {}
    for name in ("alone", "workers"):
        shutil.copytree(study.folder / "data" / "warehouse", tmp_path / name, ignore=shutil.ignore_patterns("locks"))
        monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / name))
        language_model.cache_clear()
        if name == "alone":
            plainly(study, settings)
        else:
            workers.use(tmp_path / name)
            sae_study(workers.do(settings), study.collection)
        found[name] = parquet_files(Warehouse())
    assert found["workers"] == found["alone"]
    families = rows(None, "select * from feature_families")
    assert len({row["sae"] for row in families}) == 1
    assert all(np.isfinite(row["decoder_cosine"]) for row in families)


def test_transcoders_and_saes_of_other_sites_stand_beside_the_others_and_apart_from_them(study):
    made = {"d_sae": 24, "k": 3, "layer": 2}
    pair = {"site": "mlp_in", "target_site": "mlp_out"}
    further = [
        made | pair | {"architecture": "topk"},
        made | pair | {"architecture": "batchtopk", "skip": True},
        made | {"architecture": "topk", "site": "mlp_out"},
    ]
    settings = changed(study.settings, architectures=["topk"], k=[3], seeds=[0], saes=further)
    before = len(rows(None, "from stage_runs where stage = 'sae_study_weights'"))
    key = plainly(study, settings)
    sql = f"from sae_studies inner join studied_saes using (collection, sae) where study = '{key}'"
    found = {(row["site"], row["target_site"], row["has_skip"], row["source"]): row for row in rows(None, sql)}
    assert (
        len(rows(None, "from stage_runs where stage = 'sae_study_weights'")) == before + 3 + 4
    )  # three baselines of mlp_out, the linear map
    assert set(found) == {
        ("resid_post", None, False, "trained"),
        ("resid_post", None, False, "baseline"),
        ("mlp_out", None, False, "trained"),
        ("mlp_out", None, False, "baseline"),
        ("mlp_in", "mlp_out", False, "trained"),
        ("mlp_in", "mlp_out", True, "trained"),
        ("mlp_in", "mlp_out", True, "baseline"),
    }
    for at, row in found.items():
        wanted = "from sae_quality where sae = ? and metric in ('fvu', 'l0', 'kl') and value is not null"
        assert len(rows(None, wanted, [row["sae"]])) == 3, at
    linear = found["mlp_in", "mlp_out", True, "baseline"]["sae"]
    lacking = rows(
        None, "select metric from sae_quality where sae = ? and reason = 'a linear map has no features'", [linear]
    )
    assert {row["metric"] for row in lacking} == {"dead_share", "high_frequency_share", "decoder_redundancy"}
    transcoder = found["mlp_in", "mlp_out", True, "trained"]
    (source,) = [site_source(settings.study(study.collection), 2, "mlp_in", "mlp_out")]
    both = torch.cat([block.residuals[2] for block in source.blocks([2], ["test"])])
    x, y = (half.double() for half in split_pairs(both, source.d_in))
    read = load_transcoder_folder(Warehouse().artifact_path(*transcoder["path"].split("/")[1:]), 2)
    error = (y - read.reconstruct(x.float()).double()).square().sum()
    fvu = rows(None, "select value from sae_quality where sae = ? and metric = 'fvu'", [transcoder["sae"]])[0]["value"]
    assert fvu == pytest.approx(float(error / (y - y.mean(0)).square().sum()), rel=1e-4)
    assert not rows(None, "from sae_quality where value is null and reason is null")
    kinds = rows(None, "select distinct kind from latest_sae_study where not is_baseline")
    assert {row["kind"] for row in kinds} == {"topk", "topk transcoder", "batchtopk skip transcoder"}
    rivals = rows(None, "from sae_frontier where next_architecture is not null")
    assert not rivals  # one kind at each place: a transcoder is no rival of an SAE
    assert CliRunner().invoke(app, ["check"]).exit_code == 0
    with pytest.raises(SAEError, match="is a transcoder"):
        sae_of(settings.study(study.collection), transcoder["sae"])
