"""Faults of the settings of stage ``jacobians``."""

from collections.abc import Iterator
from pathlib import Path

from ato.models.shapes import ModelShape
from flows.judging.faults import Fault
from flows.judging.pairs import pairs_faults
from flows.settings import Settings

SITE = "resid_post"
ROWS = 4
"""Documents of which each row is asked for at least, about: with fewer the error of a Jacobian is not known."""


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Site, layers, the file of a lens, and enough rows for an error."""
    j = settings.jacobians
    yield from pairs_faults(settings, shape)
    if settings.collect.site != SITE:
        why = f"derivatives are between residual streams, the collection reads {settings.collect.site}"
        yield Fault("collect.site", settings.collect.site, why, f"use {SITE}")
    if j.lens is not None:
        if not Path(j.lens).expanduser().is_file():
            yield Fault("jacobians.lens", j.lens, "there is no such file", "check the path")
        return
    asked = j.n_tokens if j.positions == "same" else j.n_tokens // settings.collect.seq_len
    if shape is not None and j.probes is not None and asked * min(j.probes, shape.d_model) < ROWS * shape.d_model:
        why = f"{j.probes} probes of so little text do not ask for each of {shape.d_model} rows {ROWS} times"
        yield Fault("jacobians.n_tokens", j.n_tokens, why, "raise it, or jacobians.probes")
