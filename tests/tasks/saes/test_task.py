"""Stage saes with published and local SAEs, at other sites, and its refusals; the download is replaced."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ato.errors import SAEError, SettingsError
from ato.saes import SparseAutoencoder, load_sae, save_sae
from flows.settings import Settings
from tasks.collect.task import collect_residuals
from tasks.saes import task as saes
from tasks.settings import SAESettings
from tests.flows.tiny_study import tiny_settings
from tests.tasks.scored_study import random_sae
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import sae_rows
from warehouse.storage.warehouse import Warehouse

RELEASE = "gemma-scope-2b-pt-res-canonical:layer_2/width_16k/canonical"


def collected(folder: Path, **collect: Any) -> tuple[Settings, str]:
    """Settings and the key of a tiny collection in the warehouse of this process."""
    settings = tiny_settings(folder, collect=collect | {"n_tokens": 4_000}, operators={"permutation_null": False})
    return settings, collect_residuals.fn(settings.model, settings.collect, settings.layers, settings.operators)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection and folder of a tiny collection of residuals."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings, collection = collected(folder)
        yield settings, collection, folder


def obtain(study, **changes: Any) -> list[dict[str, Any]]:
    """Rows of the SAEs that these settings give."""
    settings, collection, folder = study
    wanted = SAESettings.model_validate({"layers": [], "judge_sequences": 2, **changes})
    keys = saes.obtain_saes.fn(settings.study(collection), wanted)
    return rows(str(folder / "warehouse"), "from saes where list_contains(?, sae)", [keys])


def publish(monkeypatch, **metadata: Any) -> SparseAutoencoder:
    """Put an SAE where the download would come from."""
    sae = replace(random_sae(0), metadata={"hook_name": "blocks.2.hook_resid_post", **metadata})
    monkeypatch.setattr(saes, "load_pretrained", lambda release, sae_id: sae)
    return sae


def test_a_release_is_fetched_once_judged_and_named(study, monkeypatch):
    sae = publish(monkeypatch, neuronpedia_id="tiny/2-res")
    [found] = obtain(study, releases={2: RELEASE})
    assert (found["layer"], found["site"], found["source"]) == (2, "resid_post", RELEASE)
    assert (found["neuronpedia_id"], found["weights_hash"]) == ("tiny/2-res", sae.weights_hash)
    assert found["ce_spliced"] is not None
    monkeypatch.setattr(saes, "load_pretrained", lambda *_: pytest.fail("asked again"))
    assert obtain(study, releases={2: RELEASE}) == [found]
    (row,) = sae_rows(Warehouse(), [found["sae"]])
    kept = saes.load_judged_sae(Warehouse(), row)
    assert torch.equal(kept.W_enc, sae.W_enc)


@pytest.mark.parametrize(("factor", "warned"), [(1.5, False), (0.3, True), (8.0, True)])
def test_a_declared_sparsity_that_is_not_met_is_a_warning_stored_with_the_sae(
    study, monkeypatch, capsys, factor, warned
):
    publish(monkeypatch)
    [plain] = obtain(study, releases={2: f"{RELEASE}-plain"})
    assert (plain["l0_declared"], plain["warning"]) == (random_sae(0).k, None)
    publish(monkeypatch, l0=plain["l0"] * factor)
    [found] = obtain(study, releases={2: f"{RELEASE}-{factor}"})
    assert found["l0_declared"] == pytest.approx(plain["l0"] * factor)
    assert found["trusted"] == plain["trusted"]
    if warned:
        assert f"L0 is {plain['l0']:.3g} where {found['l0_declared']:.3g} is declared" in found["warning"]
        assert "\n" not in found["warning"]
        assert found["warning"] in "".join(capsys.readouterr())
    else:
        assert found["warning"] is None


def test_a_path_that_names_another_layer_is_refused_before_anything_is_collected(study, tmp_path):
    folder = save_sae(replace(random_sae(0), metadata={}), tmp_path / "resid_post_layer_20")
    with pytest.raises(SAEError, match=r"reads layer 20 .*listed under layer 2 "):
        obtain(study, paths={2: str(folder)})


@pytest.mark.parametrize(
    ("hook_name", "says"),
    [
        ("blocks.3.hook_resid_post", "reads layer 3.*listed under layer 2"),
        ("blocks.2.hook_mlp_out", "reads mlp_out.*used at resid_post.*collect.site=mlp_out"),
        ("hook_embed", "reads hook_embed"),
    ],
)
@pytest.mark.parametrize("kind", ["releases", "paths"])
def test_an_sae_of_another_layer_or_site_is_refused_in_one_line(study, monkeypatch, tmp_path, kind, hook_name, says):
    sae = publish(monkeypatch, hook_name=hook_name)
    where = f"{RELEASE}-{hook_name}" if kind == "releases" else str(save_sae(sae, tmp_path))
    with pytest.raises(SAEError, match=says) as caught:
        obtain(study, **{kind: {2: where}})
    assert "\n" not in str(caught.value)
    assert where in str(caught.value)


def test_an_sae_of_another_width_is_refused(study, monkeypatch):
    sae = random_sae(0, d=12)
    monkeypatch.setattr(saes, "load_pretrained", lambda *_: sae)
    with pytest.raises(SAEError, match="width 12, the model has 16"):
        obtain(study, releases={2: f"{RELEASE}-narrow"})


def test_a_layer_has_one_origin_and_a_release_names_an_id(study):
    with pytest.raises(SettingsError, match=r"layers \[2\] have both a path and a release"):
        obtain(study, releases={2: RELEASE}, paths={2: "somewhere"})
    with pytest.raises(SAEError, match="is not RELEASE:SAE_ID"):
        obtain(study, releases={2: "gemma-scope"})


@pytest.mark.slow
@pytest.mark.parametrize("site", ["mlp_out", "attn_z"])
def test_at_another_site_saes_are_trained_judged_and_say_where_they_read(tmp_path, monkeypatch, site):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    settings, collection = collected(tmp_path, site=site)
    training = {"layers": [2], "d_sae": 24, "k": 4, "n_tokens": 2_048, "batch_size": 256, "buffer_rows": 1_024}
    [found] = obtain((settings, collection, tmp_path), **training)
    assert found["site"] == site
    assert None not in (found["ce_clean"], found["ce_spliced"], found["ce_zero"])
    folder = Warehouse().artifact_path(*found["path"].split("/")[1:])
    trained = load_sae(folder, site=site, layer=2)
    assert (trained.site, trained.hook_layer) == (site, 2)
    with pytest.raises(SAEError, match=f"reads {site}"):
        load_sae(folder, site="resid_post")
