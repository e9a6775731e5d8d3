"""Faults of the settings of stage ``embed``."""

from collections.abc import Iterator

from ato.autointerp.sentence_encoder import PACKAGE, installed_archive
from ato.errors import UnavailableError
from ato.models.shapes import ModelShape
from flows.judging.faults import NOT_SHOWN, Fault
from flows.settings import Settings


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Without the sentence encoder nothing can be embedded."""
    try:
        installed_archive()
    except UnavailableError as error:
        yield Fault("embed", NOT_SHOWN, error.what, error.cure or f"install {PACKAGE}")
