"""The stages as the warehouse knows them: what each reads, and under which names it commits its runs.

``flows/stages.py`` adds how each is run.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RegisteredStage:
    """One stage."""

    name: str
    needs: tuple[str, ...] = ()
    """Earlier stages whose results it always reads."""
    commits: tuple[str, ...] = ()
    """Names under which it commits its parts to the warehouse, see ``stage_runs``."""
    made_by: str = ""
    """The command that makes it, where it is not ``ato run NAME``."""

    @property
    def command(self) -> str:
        """The command that makes it."""
        return self.made_by or f"ato run {self.name}"


REGISTERED_STAGES = (
    RegisteredStage(name="collect", commits=("collect", "moments")),
    RegisteredStage(name="saes", needs=("collect",), commits=("sae_weights", "saes")),
    RegisteredStage(name="features", needs=("collect", "saes"), commits=("features", "feature_scores")),
    RegisteredStage(name="explain", needs=("collect", "saes", "features"), commits=("explain",)),
    RegisteredStage(name="jacobians", needs=("collect",), commits=("jacobians",)),
    RegisteredStage(name="operators", needs=("collect",), commits=("operators",)),
    RegisteredStage(name="evaluate", needs=("collect", "saes", "operators"), commits=("evaluate",)),
    RegisteredStage(name="causal", needs=("collect", "saes", "features", "operators"), commits=("causal",)),
    RegisteredStage(name="report", needs=("collect",), commits=("report",), made_by="ato report"),
    RegisteredStage(
        name="entities",
        needs=("collect", "saes", "features", "operators"),
        commits=(
            "entity_set",
            "entity_answers",
            "entity_labels",
            "entity_residuals",
            "entity_latents",
            "entity_interventions",
        ),
    ),
    RegisteredStage(
        name="sae_study",
        needs=("collect",),
        commits=("strata", "sae_study_weights", "sae_study_quality", "sae_study_looks", "sae_studies"),
    ),
    RegisteredStage(
        name="label",
        needs=("collect", "saes", "features"),
        commits=("strata", "label_evidence", "label", "label_agreement"),
    ),
    RegisteredStage(name="embed", needs=("collect", "saes", "features"), commits=("embed",)),
    RegisteredStage(
        name="graphs", needs=("collect", "saes", "features", "operators"), commits=("graphs", "graph_motifs")
    ),
    RegisteredStage(name="fate", needs=("collect", "saes", "features", "operators", "evaluate"), commits=("fate",)),
    RegisteredStage(name="compare", needs=("collect", "saes", "operators"), commits=("compare", "watch")),
)
"""In the order of the pipeline; behind it those on demand."""


def as_values() -> str:
    """The stages as rows of SQL: (place, stage, reads, commits, made_by)."""
    return ",\n        ".join(
        f"({place}, '{stage.name}', {_listed(stage.needs)}, {_listed(stage.commits)}, '{stage.command}')"
        for place, stage in enumerate(REGISTERED_STAGES, start=1)
    )


def _listed(names: tuple[str, ...]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"[{quoted}]::varchar[]"
