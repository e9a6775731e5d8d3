"""Splits and folds depend on the document and the seed alone, have their shares, and are told by name."""

from collections import Counter
from hashlib import sha256

import numpy as np
import pytest

from ato.text.documents import document_id
from ato.text.splits import assign_split, group_names, in_splits


def test_splits_take_60_20_20_percent_and_folds_equal_parts_independently():
    ids = [document_id(str(i)) for i in range(20_000)]
    assigned = Counter(assign_split(i, 3, 4) for i in ids)
    shares = Counter()
    for (split, _), count in assigned.items():
        shares[split] += count
    for split, share in {"train": 0.6, "val": 0.2, "test": 0.2}.items():
        assert shares[split] / 20_000 == pytest.approx(share, abs=4 * (share / 20_000) ** 0.5)
    for fold in range(4):
        assert assigned["train", fold] / 12_000 == pytest.approx(0.25, abs=0.02)
    assert all((fold is None) == (split != "train") for split, fold in assigned)


def test_a_document_is_assigned_by_the_leading_digits_of_its_salted_hash_and_its_fold_by_the_last():
    for number in range(300):
        name = document_id(str(number))
        digits = sha256(f"7:{name}".encode()).hexdigest()
        share = int(digits[:12], 16) / 16**12
        split = "train" if share < 0.6 else "val" if share < 0.8 else "test"
        assert assign_split(name, 7, 3) == (split, int(digits[-16:], 16) % 3 if split == "train" else None)


def test_more_folds_move_no_document_to_another_split_and_another_seed_moves_many():
    ids = [document_id(str(i)) for i in range(500)]
    splits = [assign_split(i, 0, 2)[0] for i in ids]
    assert splits == [assign_split(i, 0, 9)[0] for i in ids]
    moved = np.mean([a != assign_split(i, 1, 2)[0] for a, i in zip(splits, ids)])
    assert moved == pytest.approx(1 - (0.6**2 + 0.2**2 + 0.2**2), abs=0.08)


def test_rows_are_in_the_splits_that_their_groups_names_begin_with():
    group = np.arange(5)[[4, 0, 2, 3, 1, 1]]
    assert group_names(3) == ("train-0", "train-1", "train-2", "val", "test")
    for splits in (["train"], ["val"], ["test", "train"], [], {"val": 1}):
        expected = [group_names(3)[g].split("-")[0] in splits for g in group]
        assert in_splits(group, splits, 3).tolist() == expected
    assert in_splits(group, None, 3).all()
