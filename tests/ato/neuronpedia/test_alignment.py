"""The alignment check: tokens compared as people read them, and variants told apart by what is known of them."""

import pytest

from ato.neuronpedia.alignment import normalise_token, published_l0, token_alignment, variant_difference

CANONICAL = "gemma-2-2b/6-gemmascope-res-16k"
VARIANT = "gemma-2-2b/12-gemmascope-res-16k__l0-176"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("▁the", "the"),
        ("Ġthe", "the"),
        (" the", "the"),
        ("the", "the"),
        ("The", "The"),
        ("▁▁", " "),
        ("Ċ", "\n"),
        ("↵", "\n"),
        ("ĉ", "\t"),
        ("a▁b", "a b"),
        ("", ""),
    ],
)
def test_a_token_reads_the_same_whatever_the_tokenizer_calls_its_space(token, expected):
    assert normalise_token(token) == expected


def test_alignment_is_the_share_of_published_tokens_that_are_ours():
    assert token_alignment(["▁a", "Ġb", "c", "d"], [" a", "b", "x", "y", "z"]) == 0.5
    assert token_alignment([" a"], ["a"]) == 1
    assert token_alignment(["a", "a", "b"], ["a"]) == pytest.approx(2 / 3)


def test_case_counts():
    assert token_alignment(["The"], ["the"]) == 0


@pytest.mark.parametrize(("published", "ours"), [(None, ["a"]), ([], ["a"]), (["a"], None), (["a"], []), (None, None)])
def test_without_tokens_on_either_side_there_is_no_alignment_rather_than_none_at_all(published, ours):
    assert token_alignment(published, ours) is None


def test_the_l0_of_an_id_is_its_suffix_or_what_the_directory_of_sae_lens_says():
    assert published_l0(VARIANT) == 176
    assert published_l0(CANONICAL) == 70
    assert published_l0("tiny/4-tiny-res") is None


@pytest.mark.parametrize(
    ("neuronpedia_id", "metadata", "says"),
    [
        (CANONICAL, {"neuronpedia_id": VARIANT}, f"the SAE is {VARIANT}"),
        (CANONICAL, {"hook_name": "blocks.7.hook_resid_post"}, "reads layer 7, the labels are of layer 6"),
        (CANONICAL, {"hook_name": "model.layers.7.output"}, "reads layer 7"),
        (CANONICAL, {"l0": 146}, "variant with L0 146, the labels are of that with L0 70"),
        (VARIANT, {"l0": 41}, "variant with L0 41, the labels are of that with L0 176"),
    ],
)
def test_another_id_layer_or_sparsity_is_a_reason_against_the_labels(neuronpedia_id, metadata, says):
    assert says in variant_difference(neuronpedia_id, metadata)


@pytest.mark.parametrize(
    ("neuronpedia_id", "metadata"),
    [
        (CANONICAL, {}),
        (CANONICAL, {"neuronpedia_id": CANONICAL, "hook_name": "blocks.6.hook_resid_post", "l0": 70.0}),
        (VARIANT, {"neuronpedia_id": VARIANT, "l0": 176, "hook_name": None}),
        ("tiny/4-tiny-res", {"l0": 12, "hook_name": "blocks.4.hook_resid_post"}),
        ("gpt2-small/8-res-jb", {"hook_name": "blocks.8.hook_resid_pre"}),
        ("gpt2-small/e-res", {"hook_name": "blocks.0.hook_resid_pre"}),
    ],
)
def test_the_same_variant_and_unknown_facts_speak_against_nothing(neuronpedia_id, metadata):
    assert variant_difference(neuronpedia_id, metadata) is None
