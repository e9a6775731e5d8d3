"""Asking the Hugging Face hub: one short question before any download, and its cache without any question."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from ato.errors import AtoError

HUB_TIMEOUT = 10.0
"""Seconds to wait for the hub to answer at all: a download would retry for half a minute without a network."""
ACCEPT_LICENCE = "accept its licence on the hub and set HF_TOKEN"
"""What to do about a gated repository."""


def ask_hub(
    repository: str,
    *,
    unreachable: AtoError,
    missing: AtoError,
    gated: AtoError | None = None,
    no_revision: AtoError | None = None,
    revision: str | None = None,
    kind: Literal["model", "dataset"] = "model",
) -> str:
    """The commit of a repository: one request without retries, so that a missing network shows at once.

    Args:
        repository: its id on the hub.
        unreachable: raised if the hub gives no sound answer, with the name of the failure in its message.
        missing: raised if the hub has no such repository, or hides it.
        gated: raised if its licence has not been accepted; ``missing`` by default.
        no_revision: raised if the repository has no such revision; ``missing`` by default.
        revision: branch, tag or commit.
        kind: of the repository.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    ask = HfApi().model_info if kind == "model" else HfApi().dataset_info
    try:
        return str(ask(repository, revision=revision, timeout=HUB_TIMEOUT).sha)
    except GatedRepoError:
        raise gated or missing from None
    except RepositoryNotFoundError:
        raise missing from None
    except RevisionNotFoundError:
        raise no_revision or missing from None
    except Exception as error:  # The hub's client has changed its network library, and with it the exceptions.
        what = f"{unreachable.what} ({type(error).__name__})"
        raise type(unreachable)(what, where=unreachable.where, cure=unreachable.cure) from error


@contextmanager
def cache_only() -> Iterator[None]:
    """The hub's client answers from its cache or not at all."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
