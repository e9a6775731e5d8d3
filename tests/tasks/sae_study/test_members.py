"""Which SAEs a study has, whatever words its settings use, and what is refused before any of them is trained."""

from types import SimpleNamespace

import pytest
import torch

from ato.errors import ModelError, SAEError
from ato.saes import save_sae
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.transcoder import Transcoder
from ato.saes.transcoder_files import save_transcoder_folder
from tasks.sae_study import weights
from tasks.sae_study.stages import SAEStudy
from tasks.sae_study.weights import check_readable
from tasks.settings import SAEStudySettings
from tasks.settings.sae_study import StudiedSAE

D = 4
PAIR = {"site": "mlp_in", "target_site": "mlp_out"}


def stage(room: str, slug: str, *, settings: object, inputs: object = (), version: int = 1) -> SimpleNamespace:
    return SimpleNamespace(key=f"{slug} {settings} {inputs} {version}", complete=False)


def studied(*saes: dict[str, object], **settings: object) -> SAEStudy:
    """A study of a collection of ``resid_post``, four numbers wide, of which nothing is there."""
    study = SimpleNamespace(
        row=SimpleNamespace(site="resid_post", d_model=D),
        model=SimpleNamespace(device="cpu"),
        stage=stage,
    )
    listed = [StudiedSAE.model_validate({"layer": 2, "d_sae": 8, "k": 2} | sae) for sae in saes]
    return SAEStudy(study, SAEStudySettings(saes=listed, **settings))


@pytest.fixture
def sae(tmp_path):
    own = SparseAutoencoder("standard", torch.eye(D), torch.zeros(D), torch.eye(D), torch.zeros(D))
    return str(save_sae(own, tmp_path / "sae"))


@pytest.fixture
def transcoder(tmp_path):
    hooks = {"hook_name": "blocks.2.mlp.hook_in", "hook_name_out": "blocks.2.hook_mlp_out"}
    own = Transcoder("standard", torch.eye(D), torch.zeros(D), torch.eye(D), torch.zeros(D), metadata=hooks)
    return str(save_transcoder_folder(own, tmp_path / "transcoder", 2))


@pytest.fixture
def model(monkeypatch):
    """A model whose blocks are four numbers wide everywhere, and have no attn_z."""

    def width(site: str, layers: list[int]) -> int:
        if site == "attn_z":
            raise ModelError("a block has no attn_z")
        return D

    monkeypatch.setattr(weights, "language_model", lambda settings: SimpleNamespace(width=width))


def test_the_collections_own_site_may_be_named_and_the_sae_is_the_same_one():
    plain, named = studied({}), studied({"site": "resid_post"})
    assert [m.key for m in plain.members] == [m.key for m in named.members]
    assert named.saes[0].label == "topk k=2 8 features seed 0"
    assert len(studied({}, {"site": "resid_post"}).saes) == 1
    seeds = studied({}, {"site": "resid_post", "seed": 1})
    assert [member.looked_at for member in seeds.saes] == [
        True,
        False,
    ]  # one kind, of which the lowest seed is looked at


def test_a_file_is_one_sae_whatever_is_said_of_training(sae, transcoder):
    assert len(studied({"path": sae}, {"path": sae, "k": 5}, {"path": sae, "seed": 3, "site": "resid_post"}).saes) == 1
    assert len(studied(PAIR | {"path": transcoder}, PAIR | {"path": transcoder, "skip": True}).saes) == 1


def test_the_random_dictionary_is_as_wide_as_what_was_trained(sae):
    found = studied({"d_sae": 8}, {"path": sae, "d_sae": 1024}).members
    (random,) = [member for member in found if member.baseline == "random"]
    assert random.of.d_sae == 8


def test_every_place_has_baselines_of_its_own():
    sites = [(m.baseline, str(m.place)) for m in studied({}, {"site": "mlp_in"}, PAIR).members if m.baseline]
    assert sorted(sites) == [
        ("basis", "layer 2"),
        ("basis", "layer 2, mlp_in"),
        ("linear", "layer 2, mlp_in to mlp_out"),
        ("pca", "layer 2"),
        ("pca", "layer 2, mlp_in"),
        ("random", "layer 2"),
        ("random", "layer 2, mlp_in"),
    ]


def test_the_linear_map_stands_beside_transcoders_from_files_too(transcoder):
    found = studied(PAIR | {"path": transcoder}).members
    assert [member.baseline for member in found] == [None, "linear"]


def test_files_that_fit_their_place_are_readable(sae, transcoder, model):
    check_readable(studied({"path": sae}, PAIR | {"path": transcoder}, PAIR, {"site": "attn_out"}))


def test_what_cannot_be_read_is_refused_before_anything_is_trained(sae, transcoder, model, monkeypatch):
    with pytest.raises(ModelError, match="no attn_z"):
        check_readable(studied({}, {"site": "attn_z"}))
    with pytest.raises(SAEError, match=r"hook_name_out = .*mlp_out, but is used at resid_post"):
        check_readable(studied({"site": "mlp_in", "target_site": "resid_post", "path": transcoder}))
    monkeypatch.setattr(weights, "language_model", lambda settings: SimpleNamespace(width=lambda site, layers: 2 * D))
    with pytest.raises(SAEError, match="maps width 4 to 4, the model has 8 and 8 there") as raised:
        check_readable(studied({}, PAIR | {"path": transcoder}))
    assert transcoder in str(raised.value)
    with pytest.raises(SAEError, match="width 4, the model has 8"):
        check_readable(studied({"path": sae, "site": "mlp_out"}))
