"""Which files a model is, what tells it from another, and names that are refused."""

import json
import shutil
from types import SimpleNamespace

import pytest

from ato.errors import ModelError, UnavailableError
from ato.io import embedded
from ato.models import identify, load_model
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Every attempt to reach the hub fails, and its cache is empty."""
    import huggingface_hub

    def unreachable(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def load(spec, **options):
    return load_model(spec, device="cpu", **{"dtype": "float32"} | options)


def test_identity_is_the_same_before_and_after_loading_and_in_another_folder(folder, copy):
    identity = identify(folder)
    assert load(folder).identity == identity
    assert identify(copy).weights_hash == identity.weights_hash
    assert len(identity.weights_hash) == 16
    assert identity.revision is None


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_one_changed_byte_changes_the_hash(copy, name):
    before = identify(copy).weights_hash
    data = bytearray((copy / name).read_bytes())
    data[data.rindex(b"2")] = ord("3")
    (copy / name).write_bytes(data)
    assert identify(copy).weights_hash != before


def test_other_weights_of_the_same_shape_have_another_hash(folder, tmp_path):
    assert identify(save_tiny_model(tmp_path, seed=1)).weights_hash != identify(folder).weights_hash


@pytest.mark.parametrize("spec", ["no-such-model", "nobody/no-such-model"])
def test_an_unknown_hub_model_without_network_is_refused_in_one_line(spec, no_network):
    with pytest.raises(ModelError, match=r"hub cannot be reached.*use smollm2-135m") as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_a_model_the_hub_does_not_have_is_refused(no_network, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    def missing(*args, **kwargs):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", missing)
    with pytest.raises(ModelError, match="hub has no such model"):
        identify("nobody/no-such-model")


def test_a_cached_hub_model_is_used_without_asking_the_hub(folder, tmp_path, no_network):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--someone--tiny"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = load("someone/tiny")
    assert model.identity == identify("someone/tiny")
    assert (model.identity.model, model.identity.revision) == ("someone/tiny", commit)
    assert model.identity.weights_hash == identify(folder).weights_hash


@pytest.fixture
def part_of_a_model(folder, tmp_path, monkeypatch):
    """A cached hub model in two files of weights, one of which is missing as older clients of the hub left it."""
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--someone--tiny"
    snapshot = repository / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return snapshot


@pytest.mark.parametrize("link", [False, True])
def test_a_weight_file_missing_from_the_cache_is_named_offline_and_fetched_online(
    link, part_of_a_model, no_network, monkeypatch
):
    import huggingface_hub

    missing = part_of_a_model / "model-00002-of-00002.safetensors"
    if link:
        missing.symlink_to("../../blobs/nothing")
    message = r"only in part \(the model lacks model-00002-of-00002.safetensors.*hub cannot be reached.*while online"
    with pytest.raises(ModelError, match=message):
        identify("someone/tiny")

    def fetch(name, *, local_files_only, **options):
        if not local_files_only:
            missing.unlink(missing_ok=True)
            missing.write_bytes(b"weights")
        return str(part_of_a_model)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **options: SimpleNamespace(sha="c0ffee"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert identify("someone/tiny").revision == part_of_a_model.name
    missing.unlink()
    with pytest.raises(ModelError, match=r"lacks model-00002.*copy or download the missing files"):
        identify(part_of_a_model)


@pytest.mark.parametrize("spec", ["./nowhere", "/nowhere/at/all", "a/b/c", "missing.gguf", "two words"])
def test_a_missing_file_is_refused_without_asking_the_hub(spec, monkeypatch):
    monkeypatch.setattr("ato.models.files._from_hub", lambda *args: pytest.fail("asked the hub"))
    with pytest.raises(ModelError, match="not found"):
        load(spec)


def test_a_folder_without_a_tokenizer_is_refused(copy):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"no tokenizer.*same folder"):
        load(copy)


def test_a_folder_with_pickled_weights_only_is_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no safetensors weights.*pickled"):
        load(copy)


def test_a_folder_without_configuration_is_refused(copy):
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load(copy)


def test_an_absent_package_of_the_embedded_model_names_the_cure(monkeypatch):
    monkeypatch.setattr(embedded, "_MODEL_PACKAGE", "no-such-package")
    with pytest.raises(UnavailableError, match=r"package no-such-package is not installed: run `make install`"):
        identify("smollm2-135m")
