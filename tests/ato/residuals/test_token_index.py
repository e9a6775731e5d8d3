"""Tokens are found by sequence and position, and nothing else is."""

import numpy as np

from ato.residuals.token_index import TokenIndex


def test_every_token_is_found_in_its_row_and_no_neighbour_is_taken_for_it():
    rng = np.random.default_rng(0)
    tokens = [(s, p) for s in range(6) for p in range(9) if rng.random() < 0.6]
    rng.shuffle(tokens)
    sequence, position = np.array(tokens).T
    rows = {token: row for row, token in enumerate(tokens)}
    s, p = np.meshgrid(np.arange(-1, 8), np.arange(-12, 25), indexing="ij")
    found = TokenIndex(sequence, position).rows(s, p)
    assert found.shape == s.shape
    for index in np.ndindex(s.shape):
        assert found[index] == rows.get((s[index], p[index]), -1)
    assert (TokenIndex(sequence[:0], position[:0]).rows(s, p) == -1).all()


def test_the_tokens_up_to_each_are_those_of_its_sequence_in_order():
    rng = np.random.default_rng(1)
    tokens = [(s, p) for s in (3, 0, 7) for p in rng.permutation(6)[:4]]
    sequence, position = np.array(tokens).T
    rows, start, length = TokenIndex(sequence, position).up_to_each()
    for i, (s, p) in enumerate(tokens):
        run = rows[start[i] : start[i] + length[i]]
        assert [tokens[row] for row in run] == sorted(t for t in tokens if t[0] == s and t[1] <= p)
