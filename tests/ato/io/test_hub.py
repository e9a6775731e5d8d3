"""One question to the hub: each answer is the error that the caller made for it, and never asked for twice."""

from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from ato.errors import AtoError, CorpusError, ModelError, SAEError, UnavailableError
from ato.io.hub import HUB_TIMEOUT, ask_hub, cache_only
from ato.models import identify
from ato.saes import pretrained
from ato.saes.pretrained import load_pretrained
from warehouse.datasets.corpora import corpus_hash


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub with an empty cache on this machine: ``answer`` is returned, or raised; questions are recorded."""
    stand_in = SimpleNamespace(answer=None, questions=[])

    def answer(kind: str):
        def ask(self, repository: str, **options):
            stand_in.questions.append((kind, repository, options))
            if isinstance(stand_in.answer, BaseException):
                raise stand_in.answer
            return SimpleNamespace(sha=stand_in.answer)

        return ask

    def absent(release: str, sae_id: str) -> None:
        raise FileNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer("model"))
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", answer("dataset"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretrained, "_from_pretrained", absent)
    return stand_in


def refusal(kind: type[Exception]) -> Exception:
    """An error of the hub's client, without the HTTP response that its constructor wants."""
    return kind.__new__(kind)


MISSING, UNREACHABLE = AtoError("missing"), UnavailableError("unreachable", where="there", cure="plug it in")


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_the_commit_is_asked_for_once_and_not_waited_for(hub, kind):
    hub.answer = "c0ffee"
    found = ask_hub("someone/thing", kind=kind, revision="v1", missing=MISSING, unreachable=UNREACHABLE)
    assert found == "c0ffee"
    assert hub.questions == [(kind, "someone/thing", {"revision": "v1", "timeout": HUB_TIMEOUT})]


@pytest.mark.parametrize("kind", [GatedRepoError, RevisionNotFoundError])
def test_what_the_caller_has_no_error_for_counts_as_missing(hub, kind):
    hub.answer = refusal(kind)
    own = AtoError("own")
    with pytest.raises(AtoError) as caught:
        ask_hub("someone/thing", missing=MISSING, unreachable=UNREACHABLE)
    assert caught.value is MISSING
    with pytest.raises(AtoError) as caught:
        ask_hub("someone/thing", missing=MISSING, unreachable=UNREACHABLE, gated=own, no_revision=own)
    assert caught.value is own


def test_any_other_failure_is_named_in_the_error(hub):
    hub.answer = ConnectionResetError("no route")
    with pytest.raises(UnavailableError) as caught:
        ask_hub("someone/thing", missing=MISSING, unreachable=UNREACHABLE)
    assert str(caught.value) == "unreachable (ConnectionResetError) (there): plug it in"


RELEASE = "gemma-scope-2b-pt-res-canonical"
SAE = f"{RELEASE}:layer_6/width_16k/canonical"


@pytest.mark.parametrize(
    ("ask", "answer", "error", "says"),
    [
        (
            lambda: identify("someone/model"),
            refusal(GatedRepoError),
            ModelError,
            "the model is gated (someone/model): accept its licence on the hub and set HF_TOKEN",
        ),
        (
            lambda: identify("someone/model"),
            refusal(RepositoryNotFoundError),
            ModelError,
            "the hub has no such model (someone/model): check the spelling, or set HF_TOKEN",
        ),
        (
            lambda: identify("someone/model", "v1"),
            refusal(RevisionNotFoundError),
            ModelError,
            "the model has no revision v1 (someone/model): check the spelling",
        ),
        (
            lambda: identify("someone/model"),
            ConnectionError(),
            ModelError,
            "the model is not on this machine and the hub cannot be reached (ConnectionError) (someone/model): "
            "use smollm2-135m (installed with this package) or a local folder",
        ),
        (
            lambda: load_pretrained(*SAE.split(":")),
            refusal(GatedRepoError),
            SAEError,
            f"google/gemma-scope-2b-pt-res is gated ({SAE}): accept its licence on the hub and set HF_TOKEN",
        ),
        (
            lambda: load_pretrained(*SAE.split(":")),
            refusal(RepositoryNotFoundError),
            SAEError,
            f"the hub has no google/gemma-scope-2b-pt-res ({SAE}): update sae-lens, or set HF_TOKEN",
        ),
        (
            lambda: load_pretrained(*SAE.split(":")),
            ConnectionError(),
            UnavailableError,
            f"the SAE is not on this machine and the hub cannot be reached (ConnectionError) ({SAE}): "
            "download it while online, or list a local folder under saes.paths",
        ),
        (
            lambda: corpus_hash("hub:someone/text"),
            refusal(GatedRepoError),
            CorpusError,
            "the hub has no such dataset (hub:someone/text): check the spelling, or set HF_TOKEN",
        ),
        (
            lambda: corpus_hash("hub:someone/text"),
            ConnectionError(),
            UnavailableError,
            "the hub cannot be reached (ConnectionError) (hub:someone/text): use sotu or a local corpus",
        ),
    ],
)
def test_models_saes_and_corpora_say_what_is_wrong_in_their_own_words(hub, ask, answer, error, says):
    hub.answer = answer
    with pytest.raises(AtoError) as caught:
        ask()
    assert type(caught.value) is error
    assert str(caught.value) == says
    assert len(hub.questions) == 1


def test_the_cache_is_asked_without_the_hub_and_only_meanwhile():
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    with cache_only():
        assert huggingface_hub.constants.HF_HUB_OFFLINE
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE
