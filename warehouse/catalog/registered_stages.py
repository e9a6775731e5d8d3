"""The stages of ``flows/stages.py`` as marts know them: what each reads, and under which names it commits its runs.

Flows are above the warehouse, which cannot ask them: ``tests/flows/test_stages.py`` holds the two lists together.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RegisteredStage:
    """One stage."""

    name: str
    reads: tuple[str, ...]
    """Stages whose results it always reads."""
    commits: tuple[str, ...]
    """Names of its runs in ``stage_runs``."""
    made_by: str = ""
    """The command that makes it, where it is not ``ato run NAME``."""

    @property
    def command(self) -> str:
        """The command that makes it."""
        return self.made_by or f"ato run {self.name}"


_SAES = ("collect", "saes", "features")
REGISTERED_STAGES = (
    RegisteredStage("collect", (), ("collect", "moments")),
    RegisteredStage("saes", ("collect",), ("sae_weights", "saes")),
    RegisteredStage("features", ("collect", "saes"), ("features", "feature_scores")),
    RegisteredStage("explain", _SAES, ("explain",)),
    RegisteredStage("jacobians", ("collect",), ("jacobians",)),
    RegisteredStage("operators", ("collect",), ("operators",)),
    RegisteredStage("evaluate", ("collect", "saes", "operators"), ("evaluate",)),
    RegisteredStage("causal", (*_SAES, "operators"), ("causal",)),
    RegisteredStage("report", ("collect",), ("report",), "ato report"),
    RegisteredStage(
        "entities",
        (*_SAES, "operators"),
        (
            "entity_set",
            "entity_answers",
            "entity_labels",
            "entity_residuals",
            "entity_latents",
            "entity_interventions",
        ),
    ),
    RegisteredStage(
        "sae_study",
        ("collect",),
        ("strata", "sae_study_weights", "sae_study_quality", "sae_study_looks", "sae_studies"),
    ),
    RegisteredStage("label", _SAES, ("strata", "label_evidence", "label", "label_agreement")),
    RegisteredStage("embed", _SAES, ("embed",)),
    RegisteredStage("graphs", (*_SAES, "operators"), ("graphs", "graph_motifs")),
    RegisteredStage("fate", (*_SAES, "operators", "evaluate"), ("fate",)),
    RegisteredStage("compare", ("collect", "saes", "operators"), ("compare", "watch")),
)
"""In the order of the pipeline; behind it those on demand."""


def as_values() -> str:
    """The stages as rows of SQL: (place, stage, reads, commits, made_by)."""
    return ",\n        ".join(
        f"({place}, '{stage.name}', {_listed(stage.reads)}, {_listed(stage.commits)}, '{stage.command}')"
        for place, stage in enumerate(REGISTERED_STAGES, start=1)
    )


def _listed(names: tuple[str, ...]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"[{quoted}]::varchar[]"
