"""Shares of the train documents: nested, of whole documents, the same in any order; oracle is the rows of each share."""

import numpy as np
import pytest
import torch

from ato.errors import InputError, MismatchError, SettingsError
from ato.moments import Moments
from ato.residuals import MemorySource, run_pass
from ato.text.splits import group_names
from tests.ato.moments.test_moments import GROUPS, N_FOLDS, largest_difference, two_pass

CUTS = (0.1, 1 / 3, 0.4, 0.5, 1.0)
DOCUMENTS = 400


def with_documents(n: int = 2000, cuts=CUTS) -> tuple[Moments, dict[int, np.ndarray], np.ndarray, np.ndarray]:
    """Moments over documents of 1 to 9 rows, whole documents in a group."""
    rng = np.random.default_rng(3)
    document = np.sort(rng.integers(0, DOCUMENTS, n))
    group = rng.integers(0, len(GROUPS), DOCUMENTS)[document]
    rows = {5: rng.standard_normal((n, 4)), 6: rng.standard_normal((n, 3))}
    moments = Moments([(5, 6)], n_folds=N_FOLDS, cuts=cuts).update(rows, group, document=document)
    return moments, rows, group, document


def test_only_folds_that_a_cut_falls_into_are_divided():
    moments = with_documents()[0]
    parts = ("train-0.0", "train-0.1", "train-1.0", "train-1.1", "train-1.2", "train-2", "val", "test")
    assert moments.groups == parts
    assert moments.train_folds == ("train-0", "train-1", "train-2")
    assert len(moments._sums.grams) == 2 * len(parts)
    assert Moments([(5, 6)], n_folds=10, cuts=(0.1, 0.3, 0.7)).groups == group_names(10)  # all on boundaries


def test_a_fold_stands_for_all_its_parts():
    moments, rows, group, _ = with_documents()
    whole = Moments([(5, 6)], n_folds=N_FOLDS).update(rows, group)
    for names in (["train-0"], ["train-1", "test"], GROUPS):
        assert largest_difference(moments.summary(5, 6, names), whole.summary(5, 6, names)) < 1e-12
    parts = moments.summary(5, 6, ["train-1.0", "train-1.1", "train-1.2", "train-1"])
    assert parts.n == (group == 1).sum()


def test_shares_are_nested_have_their_size_and_divide_no_document():
    moments, rows, group, document = with_documents(8000)
    train = group < N_FOLDS
    seen: set[str] = set()
    for cut in CUTS:
        share = moments.train_share(cut)
        assert seen <= set(share)
        seen = set(share)
        codes = moments._groups.of_rows(8000, group=group, document=document)
        inside = np.isin(codes, moments._groups.codes(share))
        assert not set(document[inside]) & set(document[train & ~inside])
        assert abs(len(set(document[inside])) / len(set(document[train])) - cut) < 0.06
        expected = two_pass(rows[5][inside], rows[6][inside])
        assert largest_difference(moments.summary(5, 6, share), expected) < 1e-11
    assert moments.summary(5, 6, moments.train_share(1.0)).n == train.sum()


def test_shares_do_not_depend_on_order_or_blocks_and_survive_saving_and_adding(tmp_path):
    moments, rows, group, document = with_documents()
    order = np.random.default_rng(4).permutation(len(document))
    halves = []
    for part in (order[:900], order[900:]):
        half = Moments([(5, 6)], n_folds=N_FOLDS, cuts=CUTS)
        half.update({k: x[part] for k, x in rows.items()}, group[part], document=document[part]).save(tmp_path / "m")
        halves.append(Moments.load(tmp_path / "m"))
    merged = halves[0] + halves[1]
    assert merged.cuts == moments.cuts
    for cut in CUTS:
        share = moments.train_share(cut)
        assert merged.train_share(cut) == share
        assert largest_difference(merged.summary(5, 6, share), moments.summary(5, 6, share)) < 1e-10


def one_part(document: int) -> list[str]:
    """Name of the part of fold 1 that a document belongs to, from the hash by Python's own integers."""
    bits = (document + 0x9E3779B97F4A7C15) % 2**64
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    share = (1 + ((bits ^ (bits >> 31)) >> 11) / 2**53) / N_FOLDS
    return [f"train-1.{sum(share >= cut for cut in (0.4, 0.5))}"]


def test_a_block_brings_its_documents_and_one_number_stands_for_all_rows():
    moments, rows, group, document = with_documents()
    source = MemorySource(
        {k: torch.from_numpy(x) for k, x in rows.items()}, group=group, document=document, n_folds=N_FOLDS
    )
    streamed = Moments([(5, 6)], n_folds=N_FOLDS, cuts=CUTS)
    run_pass(source, [streamed])
    assert streamed.scatter(5, ["train-1.1"])[0] == moments.scatter(5, ["train-1.1"])[0]
    single = Moments([(5, 6)], n_folds=N_FOLDS, cuts=CUTS).update(rows, fold=1, document=77)
    sizes = [single.scatter(5, [name])[0] for name in single.groups if name in one_part(77)]
    assert sizes == [2000]
    assert Moments([(5, 6)], n_folds=N_FOLDS, cuts=CUTS).update(rows, fold=2).train_folds == ("train-2",)


def test_shares_that_were_not_kept_and_rows_without_documents_are_refused():
    moments, rows, group, document = with_documents()
    with pytest.raises(SettingsError, match=r"no moments for the share 0\.7 "):
        moments.train_share(0.7)
    for missing in (None, document[:5]):
        with pytest.raises(InputError, match="document numbers"):
            moments.update(rows, group, document=missing)
    with pytest.raises(MismatchError):
        moments + Moments([(5, 6)], n_folds=N_FOLDS)
    for cuts in ([0.0], [1.5], [-0.1], [float("nan")]):
        with pytest.raises(SettingsError, match="shares"):
            Moments([(5, 6)], cuts=cuts)
