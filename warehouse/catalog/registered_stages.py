"""The stages as the warehouse knows them: what each reads, under which names it commits its runs, and its main table.

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
    query: str = ""
    """Its main table: ``ato show NAME`` and the artifact of its run; ``?`` is the collection. Empty: it has none."""

    @property
    def command(self) -> str:
        """The command that makes it."""
        return self.made_by or f"ato run {self.name}"


REGISTERED_STAGES = (
    RegisteredStage(
        name="collect",
        commits=("collect", "moments"),
        query="select * exclude (settings) from collections where collection = ?",
    ),
    RegisteredStage(
        name="saes",
        needs=("collect",),
        commits=("sae_weights", "saes"),
        query="select * exclude (collection, path, weights_hash) from saes where collection = ? order by layer",
    ),
    RegisteredStage(
        name="features",
        needs=("collect", "saes"),
        commits=("features", "feature_scores"),
        query="""select sae, count(*) as features, count(*) filter (n_active = 0) as dead,
            avg(activation_rate) as mean_rate, max(max_activation) as max_activation
            from feature_stats where collection = ? group by sae order by sae""",
    ),
    RegisteredStage(
        name="explain",
        needs=("collect", "saes", "features"),
        commits=("explain",),
        query="""select sae, feature_id, description, explainer, score, alignment, aligned
            from explanations where collection = ? order by all""",
    ),
    RegisteredStage(
        name="jacobians",
        needs=("collect",),
        commits=("jacobians",),
        query="""select source_layer, leap, target_layer, positions, n_tokens, n_documents, probes, relative_error,
            converged, identity_cosine, seconds from jacobians where collection = ? order by all""",
    ),
    RegisteredStage(
        name="operators",
        needs=("collect",),
        commits=("operators",),
        query="""select source_layer, leap, target_layer, position_policy, method, alpha, rank, r2_test, r2_weighted,
            r2_whitened, r2_update, skill, cosine from operators where collection = ? order by all""",
    ),
    RegisteredStage(
        name="evaluate",
        needs=("collect", "saes", "operators"),
        commits=("evaluate",),
        query="select * exclude (collection) from transport_map where collection = ? order by all",
    ),
    RegisteredStage(
        name="causal",
        needs=("collect", "saes", "features", "operators"),
        commits=("causal",),
        query="""select source_layer, target_layer, method, intervention, position_set, feature_id, n_sequences,
            delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high, kl,
            difference, difference_low, difference_high, difference_p
            from causal_summary where collection = ? order by all""",
    ),
    RegisteredStage(
        name="report",
        needs=("collect",),
        commits=("report",),
        made_by="ato report",
    ),
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
        query="""select contrast, template || ', ' || position as read_at, direction, rank, layer,
            feature_id, auroc, auroc_low, auroc_high, q, best_baseline, best_baseline_auroc, beats_baselines
            from entity_latent_ranking where collection = ? and entity_type = 'all' and rank <= 5
            order by contrast = 'known_unknown' desc, contrast, template, position, direction, rank""",
    ),
    RegisteredStage(
        name="sae_study",
        needs=("collect",),
        commits=("strata", "sae_study_weights", "sae_study_quality", "sae_study_looks", "sae_studies"),
        query="""select layer, label, l0, fvu, ce_recovered, kl, dead_share, matched_cosine
            from sae_comparison where collection = ?
            order by layer, site, target_site nulls first, is_baseline, architecture, k, seed, label""",
    ),
    RegisteredStage(
        name="label",
        needs=("collect", "saes", "features"),
        commits=("strata", "label_evidence", "label", "label_agreement"),
        query="""select sae, feature_id, judge, description, detection, detection_low, detection_high, intruder,
            failed from feature_labelled where collection = ? order by layer, sae, judge, place""",
    ),
    RegisteredStage(
        name="embed",
        needs=("collect", "saes", "features"),
        commits=("embed",),
        query="""select sae, kind, encoder, count(*) as texts, count(distinct feature_id) as features
            from feature_embeddings semi join (from latest_embeddings where is_latest) using (collection, embedding)
            where collection = ? group by layer, sae, kind, encoder order by layer, sae, kind""",
    ),
    RegisteredStage(
        name="graphs",
        needs=("collect", "saes", "features", "operators"),
        commits=("graphs", "graph_motifs"),
        query="""select prompt, graph_kind, likeliest_token, n_features, n_edges, replacement, completeness, transport_share,
            conservation_residual, pearson, pearson_low, pearson_high, pearson_control, seconds
            from graph_summary where collection = ? order by prompt, graph_kind""",
    ),
    RegisteredStage(
        name="fate",
        needs=("collect", "saes", "features", "operators", "evaluate"),
        commits=("fate",),
        query="""select target_layer, source_layer, fate, count(*) as features, count(agreement) as ablated,
            avg(r2) as r2, avg(r2_identity) as r2_identity, avg(decoder_cosine) as decoder_cosine, avg(agreement) as agreement,
            count(*) filter (views_disagree) as disagreeing
            from feature_fate where collection = ? group by all order by all""",
    ),
    RegisteredStage(
        name="compare",
        needs=("collect", "saes", "operators"),
        commits=("compare", "watch"),
        query="""select place, other_model, source_layer, target_layer, sae, n_features, n_changed, n_verdicts_changed,
            mean_difference, mean_difference_low, mean_difference_high, mean_loss, relative_distance
            from latest_comparisons where collection = ? order by place, source_layer, target_layer, sae""",
    ),
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
