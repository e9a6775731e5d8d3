"""Sets of edited positions in words."""

from ato.causal.intervention_names import edited_in_words


def test_a_set_of_edited_positions_is_named_in_words():
    assert edited_in_words("study") == "at five positions"
    assert edited_in_words("all") == "at all positions"
    assert edited_in_words("10,20") == "at positions 10, 20"
    assert edited_in_words("10") == "at position 10"
