"""``ato export features``: features with their examples and descriptions as files that other tools read."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ato.errors import InputError, SettingsError, UnavailableError
from ato.features.exports.expanded import METADATA, feature_json, write_expanded
from ato.features.exports.feature_page import FeaturePage
from ato.features.exports.packed import pack
from ato.features.exports.sae_dashboard import DashboardSource, write_batches
from tasks.engine.progress import Progress
from warehouse.catalog.catalog import rows
from warehouse.catalog.feature_pages import FeaturePages
from warehouse.catalog.lookups import collection_row
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

FORMATS = ("expanded", "circuit-tracer", "neuronpedia")
SETS = ("shown", "selected", "all")
_SAES = "select sae, layer, d_sae, neuronpedia_id from saes where collection = ?"
_LABELLED = """select sae, layer, coalesce(max(s.d_sae), max(t.d_sae), max(feature_id) + 1) as d_sae, null as neuronpedia_id
from labelled_features
left join labelled_sources as s using (collection, evidence, sae, layer)
left join studied_saes as t using (collection, sae, layer)
anti join saes using (collection, sae)
where collection = ? group by sae, layer"""
"""Features that were labelled before ``labelled_sources`` was, of neurons or an adapter, end with the last labelled one."""
_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)
LARGEST_RANGE = 10_000_000


def export_features(
    collection: str,
    folder: str | Path,
    format_: str,
    *,
    saes: Collection[str] = (),
    layer: int | None = None,
    features: str = "shown",
) -> list[Path]:
    """Write the features of SAEs; returns the files to begin with.

    Args:
        collection: key of the collection.
        folder: created if it is missing.
        format_: ``expanded`` (a JSON file a feature in ``features/``, and their rates), ``circuit-tracer`` (packed, to be
            served by ``--features_dir``) or ``neuronpedia`` (SAEDashboard's batches, a folder an SAE).
        saes: keys, those of labelled neurons, transcoders and adapters too; default: all SAEs of the collection.
        layer: only those of this layer.
        features: ``shown`` (with examples or a description), ``selected`` by the scores, ``all``, or numbers and ranges
            such as ``3,17,100-120``.

    Raises:
        InputError: no such SAE or feature, nothing to export, or several SAEs of a layer where the format has one.
        SettingsError: ``features`` cannot be read.
        UnavailableError: the folder cannot be written.
    """
    warehouse, folder, wanted = Warehouse(), Path(folder).expanduser(), read_features(features)
    members = _members(warehouse, collection, saes, layer)
    if format_ != "neuronpedia":
        _check_one_a_layer([member for member, _ in members])
    chosen = [(pages, neuronpedia_id, pages.ids(wanted)) for pages, neuronpedia_id in members]
    chosen = [one for one in chosen if one[2]]
    if not chosen:
        cure = "run `ato run features` first, or name features: --features all"
        raise InputError("no features to export", where=collection, cure=cure)
    n_features = sum(len(ids) for _, _, ids in chosen)
    try:
        with Progress("export", n_features, "features", format_) as progress:
            if format_ == "neuronpedia":
                return [
                    path
                    for pages, neuronpedia_id, ids in chosen
                    for path in _write_batches(pages, _source(warehouse, pages, neuronpedia_id), ids, folder, progress)
                ]
            every = (page for pages, _, ids in chosen for page in _read(pages, ids, progress))
            if format_ == "circuit-tracer":
                widths = {pages.layer: pages.d_sae for pages, _, _ in chosen}
                return [pack(map(feature_json, every), folder, widths)]
            write_expanded(every, folder)
            return [folder / METADATA]
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise UnavailableError(problem, where=folder, cure="choose another folder: --to") from None


def read_features(text: str) -> str | set[int]:
    """``shown``, ``selected`` or ``all`` as they are, or numbers and ranges as a set.

    >>> sorted(read_features("3,100-102"))
    [3, 100, 101, 102]

    Raises:
        SettingsError: neither.
    """
    if text in SETS:
        return text
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last <= first + LARGEST_RANGE:
            cure = f"use {', '.join(SETS)}, or numbers and ranges such as 3,17,100-120"
            raise SettingsError(f"--features {text!r} cannot be read", cure=cure)
        found.update(range(first, last + 1))
    return found


def _members(
    warehouse: Warehouse, collection: str, saes: Collection[str], layer: int | None
) -> list[tuple[FeaturePages, str | None]]:
    """The wanted SAEs with their ids on Neuronpedia, by layer."""
    collection_row(warehouse, collection)
    known = rows(warehouse, _SAES, [collection])
    own = {row["sae"] for row in known}
    if saes and "labelled_features" in TABLES:
        known += rows(warehouse, _LABELLED, [collection])
    names = {row["sae"] for row in known}
    if unknown := [sae for sae in saes if sae not in names]:
        cure = f"use one of {', '.join(sorted(names))}" if names else "run `ato run saes` first"
        raise InputError(f"no SAE {unknown[0]!r}", where=collection, cure=cure)
    wanted = [row for row in known if row["sae"] in (saes or own) and layer in (None, row["layer"])]
    if not wanted:
        where = collection if layer is None else f"{collection}, layer {layer}"
        raise InputError("no SAE to export", where=where, cure="run `ato run saes` first")
    return [
        (FeaturePages(warehouse, collection, row["sae"], row["layer"], row["d_sae"]), row["neuronpedia_id"])
        for row in sorted(wanted, key=lambda row: (row["layer"], row["sae"]))
    ]


def _check_one_a_layer(members: Sequence[FeaturePages]) -> None:
    by_layer: dict[int, str] = {}
    for pages in members:
        if (other := by_layer.setdefault(pages.layer, pages.sae)) != pages.sae:
            raise InputError(
                f"{other} and {pages.sae} are both of layer {pages.layer}, and the format has one SAE a layer",
                cure=f"name one of them: --sae {other}",
            )


def _read(pages: FeaturePages, ids: Sequence[int], progress: Progress) -> Iterator[FeaturePage]:
    for page in pages.read(ids):
        yield page
        progress.advance()


def _source(warehouse: Warehouse, pages: FeaturePages, neuronpedia_id: str | None) -> DashboardSource:
    """The SAE's own name on Neuronpedia; one that was never there goes by the model's name and its key."""
    collection = collection_row(warehouse, pages.collection)
    (counted,) = rows(warehouse, "select count(*) as n from sequences where collection = ?", [pages.collection])
    text = {"dataset": collection.corpus, "n_prompts": counted["n"], "n_tokens_in_prompt": collection.seq_len}
    if neuronpedia_id is not None:
        return DashboardSource.parse(neuronpedia_id, **text)
    model = re.sub(r"[^\w.-]+", "-", collection.model.rstrip("/").rpartition("/")[2].lower()).strip("-.") or "model"
    return DashboardSource(model, pages.layer, pages.sae.replace("__", "-"), **text)


def _write_batches(
    pages: FeaturePages, source: DashboardSource, ids: Sequence[int], folder: Path, progress: Progress
) -> list[Path]:
    to = folder / source.model_id / source.source
    return write_batches(_read(pages, ids, progress), source, to, d_sae=pages.d_sae)
