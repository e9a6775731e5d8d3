"""Probes of the strata that the corpus tells: few features of each SAE, random ones, and the dense mean residual."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ato.numerics.intervals import Estimate, number_or_none
from ato.residuals import ResidualSource, run_pass
from ato.sae_studies.document_means import (
    DocumentActivations,
    DocumentResiduals,
    balanced_documents,
    labels_of_seen,
)
from ato.sae_studies.metrics import Metric
from ato.sae_studies.probing import ProbeSettings, StrataProbes, probe_features, probe_residuals
from ato.saes import SharedEncoding, SparseAutoencoder
from tasks.sae_study.stages import SAEStudy
from warehouse.catalog.catalog import rows
from warehouse.datasets.strata import frequent, strata_of

READERS = {"sae": "best", "random": "random", "dense": "dense"}
"""Method of a probe -> as the table ``sae_probing`` has it."""
MOST_CLASSES = 12
"""Classes of a stratum that are probed, those with most documents: presidents, say, are many."""


@dataclass(frozen=True)
class Probed:
    """What probes say of one SAE."""

    metrics: list[Metric] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


class Probes:
    """Probes of all SAEs of one layer, on the means of their features over documents.

    Test documents are read in the pass that judges the SAEs, train documents in one of their own.

    Args:
        of: the study.
        layer: that the SAEs read.
        saes: by key.
    """

    def __init__(self, of: SAEStudy, layer: int, saes: Mapping[str, SparseAutoencoder]):
        self._settings, self._layer = of.settings.judging, layer
        ks = tuple(self._settings.probing_k) or (1,)
        self._how = ProbeSettings(ks=ks, min_documents=self._settings.min_documents)
        self._made: dict[str, StrataProbes] = {}
        self._strata = self._labels(of) if of.strata else {}
        split = _splits(of)
        chosen: set[int] = set()
        for labels in self._strata.values():
            known = sorted(document for document in labels if split.get(document) in ("train", "test"))
            places = balanced_documents([labels[document] for document in known])
            chosen |= {known[place] for place in places.tolist()}
        self._documents = np.array(sorted(chosen), dtype=np.int64)
        self._train = np.array([split[document] == "train" for document in self._documents.tolist()], dtype=bool)
        self._saes = dict(saes)
        self._means = {key: DocumentActivations(sae, layer, self._documents) for key, sae in saes.items()}
        self._residuals = DocumentResiduals(layer, self._documents)

    def _labels(self, of: SAEStudy) -> dict[str, dict[int, str]]:
        """Stratum -> document -> class, the classes with most documents."""
        assert of.strata is not None
        found = {}
        for name, values in strata_of(of.study.warehouse, of.study.collection, of.strata).items():
            common = frequent(values, 2 * self._settings.min_documents)
            kinds, counts = np.unique(list(common.values()) or [""], return_counts=True)
            kept = set(kinds[np.argsort(-counts, kind="stable")][:MOST_CLASSES].tolist())
            labels = {document: value for document, value in common.items() if value in kept}
            if len(set(labels.values())) > 1:
                found[name] = labels
        return found

    def means(self, key: str) -> list[DocumentActivations]:
        """What is to see the test tokens as one SAE encodes them, in the pass that judges it; empty without documents or features."""
        return [self._means[key]] if len(self._documents) and key in self._means else []

    @property
    def residuals(self) -> list[DocumentResiduals]:
        """What is to see the test tokens themselves."""
        return [self._residuals] if len(self._documents) else []

    def read_train(self, source: ResidualSource) -> None:
        """Average over the train documents too; nothing where there is nothing to probe."""
        if not len(self._documents):
            return
        consumers: list[Any] = [SharedEncoding(self._saes[key], self._layer, [m]) for key, m in self._means.items()]
        run_pass(source, [*consumers, self._residuals], layers=[self._layer], splits=["train"])

    def of(self, key: str) -> Probed:
        """The probes of one SAE."""
        if not self._settings.probing_k:
            return Probed()
        if not self._strata:
            reason = "the corpus tells no classes of documents that are large enough"
            return Probed(
                [Metric("probe_auroc", Estimate(None), 0, 0, f"k = {k}", reason) for k in self._settings.probing_k]
            )
        metrics: list[Metric] = []
        table: list[dict[str, Any]] = []
        for name in self._strata:
            sums = self._means[key]
            labels = labels_of_seen(self._of_documents(name), sums.n_tokens())
            found = probe_features(sums.means(), labels, self._train, self._how, name=name)
            metrics += [_metric(found, k) for k in self._how.ks]
            dense = self._dense(name)
            table += [row for probes in (found, dense) for row in probe_rows(probes, self._saes[key].d_in)]
        return Probed(metrics, table)

    def _of_documents(self, name: str) -> list[str | None]:
        return [self._strata[name].get(document) for document in self._documents.tolist()]

    def _dense(self, name: str) -> StrataProbes:
        """Probes of the mean residual, made once for all SAEs."""
        if name not in self._made:
            labels = labels_of_seen(self._of_documents(name), self._residuals.n_tokens())
            self._made[name] = probe_residuals(self._residuals.means(), labels, self._train, self._how, name=name)
        return self._made[name]


def _metric(found: StrataProbes, k: int) -> Metric:
    """AUROC with k features, averaged over the classes of one stratum."""
    estimate = found.means["sae", k][0]
    reason = None if estimate.value is not None else found.reason or "no class has a probe"
    return Metric("probe_auroc", estimate, found.n_test, found.n_test, f"{found.name}, k = {k}", reason)


def probe_rows(found: StrataProbes, d_in: int) -> list[dict[str, Any]]:
    """Rows of ``sae_probing`` without ``collection`` and ``sae``.

    Args:
        found: probes of the classes of one stratum.
        d_in: numbers that a dense probe reads.
    """
    return [
        {
            "stratum": found.name,
            "value": probe.stratum,
            "k": d_in if probe.k is None else probe.k,
            "reader": READERS[probe.method],
            "auroc": _number(probe.auroc.value),
            "auroc_low": _number(probe.auroc.low),
            "auroc_high": _number(probe.auroc.high),
            "n_train": probe.n_train,
            "n_test": probe.n_positive,
            "n_others": probe.n_test - probe.n_positive,
            "features": list(probe.features) if probe.method == "sae" else None,
            "reason": probe.reason or (None if probe.auroc.value is not None else "too few test documents"),
        }
        for probe in found.probes
        if probe.method in READERS
    ]


def _number(value: float | None) -> float | None:
    return None if value is None else number_or_none(value)


def _splits(of: SAEStudy) -> dict[int, str]:
    """Document -> split."""
    sql = "select distinct document, split from sequences where collection = ?"
    return {row["document"]: row["split"] for row in rows(of.study.warehouse, sql, [of.study.collection])}
