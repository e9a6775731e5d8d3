"""A small study of SAEs with planted differences: one architecture is better than its seeds vary, two are not."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

Rows = list[dict[str, Any]]

LAYER, LOWER, D_SAE = 4, 2, 12
FVU = {"batchtopk": 0.25, "topk": 0.30, "jumprelu": 0.304}
"""Architecture -> mean FVU over its seeds at k = 4: the first is better by more than seeds differ, the others are alike."""
BASELINE_FVU = {"pca": 0.45, "basis": 0.7, "random": 0.9}
SEED_STEP = 0.01
"""How far the FVU of two seeds lies apart."""
SEEDS = {4: (0, 1), 8: (0,)}
"""k -> seeds: of k = 8 there is one, which says nothing of the spread."""
LESS_AT_8 = 0.1
"""By how much each FVU is lower at k = 8."""
L0_FACTOR = {"jumprelu": 1.5}
"""Mean L0 over k; 1 for the others, which are thus at equal L0."""
HALF = 0.02
"""Half the width of intervals by document."""
STEPS = {0: 0, 10: 1000, 40: 4000}
"""Snapshot's step -> tokens."""
EMERGED = {0: 2, 10: 4, 40: 6}
"""Step -> features of an SAE that emerge at it."""
STRATUM = ("topic", ("history", "music", "sport"))
AUROC = {"best": 0.8, "random": 0.55, "dense": 0.9}
"""Reader -> AUROC of the first class of the stratum; 0.05 less for each one after it, the last is not measured."""
N_ABLATED = 6
AGREEMENT = {"batchtopk": 0.6, "topk": 0.8, "jumprelu": 0.7}
"""Mean decoder cosine of matched features of the two seeds at k = 4."""
NULL_AGREEMENT = 0.2


class Planted(NamedTuple):
    """An SAE of the study."""

    architecture: str
    k: int | None
    seed: int | None
    layer: int = LAYER
    source: str = "trained"

    @property
    def sae(self) -> str:
        """Its key."""
        parts = (self.architecture, f"l{self.layer}", f"k{self.k}", f"s{self.seed}")
        return "loaded-1" if self.source == "shared/loaded" else "-".join(parts)

    @property
    def label(self) -> str:
        """Its name in tables and charts."""
        seed = "" if self.seed is None else f" seed {self.seed}"
        return "loaded" if self.source == "shared/loaded" else f"{self.architecture} k={self.k}{seed}"

    @property
    def is_trained(self) -> bool:
        """Whether the study trained it."""
        return self.source == "trained"

    @property
    def looked_at(self) -> bool:
        """Whether it has snapshots, a map and so on."""
        return self.is_trained and self.seed == 0

    @property
    def fvu(self) -> float:
        """Its planted FVU."""
        mean = {**FVU, **BASELINE_FVU}[self.architecture] - (LESS_AT_8 if self.k == 8 else 0)
        return mean + (SEED_STEP * (self.seed - 0.5) if self.k == 4 and self.is_trained else 0)

    @property
    def l0(self) -> float:
        """Its planted L0; 10 of the loaded one, whose k nobody knows."""
        return 10.0 if self.k is None else self.k * L0_FACTOR.get(self.architecture, 1.0)


TRAINED = [Planted(a, k, s) for a in FVU for k, seeds in SEEDS.items() for s in seeds]
BASELINES = [Planted(a, k, 0 if a == "random" else None, source="baseline") for a in BASELINE_FVU for k in SEEDS]
BELOW = Planted("topk", 4, 0, LOWER)
LOADED = Planted("topk", None, None, 6, "shared/loaded")
"""An SAE that the small study has in its table ``saes`` too, by its weights."""
SAES = [*TRAINED, *BASELINES, BELOW, LOADED]
LOOKED_AT = [planted for planted in SAES if planted.looked_at]


def study_rows(study: str) -> dict[str, Rows]:
    """Table -> rows of a study, those of its SAEs among them."""
    return {
        "studied_saes": [_studied(planted) for planted in SAES],
        "sae_studies": membership(study, SAES),
        "sae_quality": [found for planted in SAES for found in quality(planted)],
        "sae_training": [found for planted in SAES if planted.is_trained for found in _training(planted)],
        "sae_density": [found for planted in SAES for found in _density("sae_density", planted)],
        "sae_snapshot_density": [
            found
            for planted in LOOKED_AT
            for step in STEPS
            for found in _density("sae_snapshot_density", planted, step=step)
        ],
        "sae_probing": [found for planted in SAES for found in _probing(planted)],
        "sae_agreement": [
            row(
                "sae_agreement",
                study=study,
                sae=Planted(name, 4, 0).sae,
                other_sae=Planted(name, 4, 1).sae,
                n_matched=D_SAE - 1,
                mean_cosine=cosine,
                share_same=cosine - 0.3,
                mean_max_cosine=cosine + 0.05,
                null_mean_cosine=NULL_AGREEMENT,
            )
            for name, cosine in AGREEMENT.items()
        ],
        "sae_snapshots": [found for planted in LOOKED_AT for found in _snapshots(planted)],
        "feature_emergence": [found for planted in LOOKED_AT for found in _emergence(planted)],
        "feature_clusters": [found for planted in LOOKED_AT for found in _clusters(planted)],
        "feature_map": [found for planted in LOOKED_AT for found in _map(planted)],
        "feature_families": [_family(planted, f) for planted in LOOKED_AT if planted != BELOW for f in range(D_SAE)],
        "feature_attribution": [_attribution(planted, f) for planted in LOOKED_AT for f in range(D_SAE)],
    }


def membership(study: str, saes: Iterable[Planted]) -> Rows:
    """Rows of ``sae_studies``."""
    return [row("sae_studies", study=study, sae=planted.sae, looked_at=planted.looked_at) for planted in saes]


def commit_study(warehouse: Warehouse, study: str, tables: dict[str, Rows], hour: int = 1) -> None:
    """Write rows and commit them under the key of the study, so many hours after everything else."""
    commit(
        warehouse,
        "sae_study",
        study,
        collection=COLLECTION,
        settings={},
        files=write(warehouse, tables, study),
        started_at=STARTED + timedelta(hours=hour),
        seconds=2.0,
    )


def write_sae_study(warehouse: Warehouse, study: str = "study-1") -> None:
    """Write and commit ``study_rows``."""
    commit_study(warehouse, study, study_rows(study))


def quality(planted: Planted) -> Rows:
    """Its rows of ``sae_quality``: absorption is never measured, effects on the loss only of those that are looked at."""
    baseline = planted.source == "baseline"
    values: dict[str, float | None] = {
        "fvu": planted.fvu,
        "explained_variance": 1 - planted.fvu,
        "l0": planted.l0,
        "dead_share": 0.0 if baseline else 1 / D_SAE,
        "high_frequency_share": 0.25,
        "shrinkage": 1.02,
        "decoder_redundancy": 0.4,
        "ce_recovered": 1 - planted.fvu / 2,
        "kl": planted.fvu / 4,
        "absorption_fraction": None,
        "probe_auroc_1": 0.7 - planted.fvu / 10,
        "probe_auroc_5": 0.8 - planted.fvu / 10,
        "attribution_rank_agreement": 0.9 if planted.looked_at else None,
    }
    return [
        row(
            "sae_quality",
            sae=planted.sae,
            metric="probe_auroc" if metric.startswith("probe_auroc") else metric,
            detail=f"topic, k = {metric[-1]}" if metric.startswith("probe_auroc") else "",
            value=value,
            low=None if value is None else value - HALF,
            high=None if value is None else value + HALF,
            n=1000,
            n_documents=20,
            reason="not measured here" if value is None else None,
        )
        for metric, value in values.items()
    ]


def _studied(planted: Planted) -> dict[str, Any]:
    return row(
        "studied_saes",
        sae=planted.sae,
        label=planted.label,
        source=planted.source,
        layer=planted.layer,
        architecture=planted.architecture,
        d_sae=D_SAE if planted.source != "baseline" else 6,
        k=planted.k,
        seed=planted.seed,
        n_tokens_trained=max(STEPS.values()) if planted.is_trained else None,
        path=f"artifacts/saes/{planted.sae}",
        weights_hash="x" if planted == LOADED else planted.sae,
    )


def _training(planted: Planted) -> Rows:
    return [
        row(
            "sae_training",
            sae=planted.sae,
            architecture=planted.architecture,
            step=step,
            tokens=tokens,
            mse=1.0,
            fvu=planted.fvu + 1 / (1 + step),
            l0=planted.l0,
            dead_share=step / 400,
            lr=1e-3,
        )
        for step, tokens in STEPS.items()
    ]


def _density(table: str, planted: Planted, **step: int) -> Rows:
    """One feature never fires, the others lie in three bins of half a decade."""
    bins = [(None, None, 1), (-3.0, -2.5, 5), (-2.5, -2.0, 4), (-2.0, -1.5, 2)]
    return [
        row(table, sae=planted.sae, bin=i, log10_rate_low=low, log10_rate_high=high, n_features=n, **step)
        for i, (low, high, n) in enumerate(bins)
    ]


def _probing(planted: Planted) -> Rows:
    stratum, classes = STRATUM
    found = []
    for reader, k in (("best", 1), ("best", 5), ("random", 1), ("random", 5), ("dense", 6)):
        for place, value in enumerate(classes):
            measured = place < len(classes) - 1
            auroc = AUROC[reader] - 0.05 * place + (0.05 if k == 5 else 0)
            found.append(
                row(
                    "sae_probing",
                    sae=planted.sae,
                    stratum=stratum,
                    value=value,
                    k=k,
                    reader=reader,
                    auroc=auroc if measured else None,
                    auroc_low=auroc - 0.1 if measured else None,
                    auroc_high=auroc + 0.1 if measured else None,
                    n_train=20,
                    n_test=12 if measured else 3,
                    n_others=24,
                    features=list(range(k)) if reader != "dense" else None,
                    reason=None if measured else "3 documents of the class in test, fewer than 10",
                )
            )
    return found


def _snapshots(planted: Planted) -> Rows:
    found, emerged = [], 0
    for step, tokens in STEPS.items():
        emerged += EMERGED[step]
        found.append(
            row(
                "sae_snapshots",
                sae=planted.sae,
                step=step,
                tokens=tokens,
                n_tokens=1000,
                fvu=planted.fvu + 1 / (1 + step),
                l0=planted.l0,
                dead_share=1 / D_SAE,
                high_frequency_share=0.25,
                median_log10_rate=-2.4,
                mean_final_cosine=0.2 + 0.02 * step,
                emerged_share=emerged / D_SAE,
            )
        )
    return found


def _emergence(planted: Planted) -> Rows:
    """Features 0 and 1 emerge at once, 11 is never born, 10 dies at the last snapshot, 4 and 5 are split from 4."""
    steps = [step for step, n in EMERGED.items() for _ in range(n)]
    return [
        row(
            "feature_emergence",
            sae=planted.sae,
            feature_id=f,
            emerged_step=step,
            born_step=None if f == D_SAE - 1 else 0,
            died_step=40 if f == D_SAE - 2 else None,
            first_cosine=1.0 if step == 0 else 0.3,
            first_jaccard=0.5,
            drift=None if f == D_SAE - 1 else 0.1 * (f % 3),
            split_from=4 if f in (4, 5) else None,
            token_entropy_first=None if f == D_SAE - 1 else 2.0,
            token_entropy=None if f == D_SAE - 1 else 1.5,
            stratum_entropy=None,
        )
        for f, step in enumerate(steps)
    ]


def _clusters(planted: Planted) -> Rows:
    """Features 0 to 4: a stable cluster, 5 to 8: an unstable one, the others in none."""
    found = []
    for f in range(D_SAE):
        cluster = 0 if f < 5 else 1 if f < 9 else None
        found.append(
            row(
                "feature_clusters",
                sae=planted.sae,
                feature_id=f,
                method="hdbscan",
                cluster=cluster,
                cluster_size=None if cluster is None else (5, 4)[cluster],
                stability=0.7,
                cluster_stability=None if cluster is None else (0.9, 0.3)[cluster],
                stable=None if cluster is None else cluster == 0,
                versions="scikit-learn 1",
            )
        )
    return found


def _map(planted: Planted) -> Rows:
    """Feature f fires most on the tokens ``t<f mod 3>`` and ``own<f>``; the last one never."""
    return [
        row(
            "feature_map",
            sae=planted.sae,
            feature_id=f,
            method="pca",
            x=float(f),
            y=float(f % 3),
            activation_rate=0.01 * f if f < D_SAE - 1 else 0.0,
            max_activation=1.0 + f if f < D_SAE - 1 else None,
            token_ids=[f % 3, 100 + f] if f < D_SAE - 1 else [],
            tokens=[f" t{f % 3}", f"<own{f}>"] if f < D_SAE - 1 else [],
            activations=[1.0 + f, 0.5] if f < D_SAE - 1 else [],
            nearest=(f + 1) % D_SAE,
            nearest_cosine=0.5,
            versions="scikit-learn 1",
        )
        for f in range(D_SAE)
    ]


def _family(planted: Planted, f: int) -> dict[str, Any]:
    """Half of the features have a cosine of 0.95, a third of those fire together with their source."""
    return row(
        "feature_families",
        sae=planted.sae,
        feature_id=f,
        source_sae=BELOW.sae,
        source_feature=f,
        decoder_cosine=0.95 if f % 2 == 0 else 0.4,
        transport_cosine=None,
        activation_r2=0.5,
        activation_jaccard=0.6 if f % 6 == 0 else 0.1,
        n_tokens=1000,
    )


def _attribution(planted: Planted, f: int) -> dict[str, Any]:
    return row(
        "feature_attribution",
        sae=planted.sae,
        feature_id=f,
        n_active=10 * f,
        gradient_x_activation=-0.01 * f if f else None,
        ablation_effect=0.012 * f if 0 < f <= N_ABLATED else None,
    )
