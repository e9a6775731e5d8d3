"""Names of hooks in both dialects stand for the same places, and places that are not read here for none."""

import pytest

from ato.models.sites import SITES, Hook, parse_hook


@pytest.mark.parametrize(
    ("name", "site", "layer"),
    [
        ("blocks.5.hook_resid_post", "resid_post", 5),
        ("blocks.5.hook_resid_pre", "resid_post", 4),
        ("blocks.12.hook_mlp_out", "mlp_out", 12),
        ("blocks.0.hook_attn_out", "attn_out", 0),
        ("blocks.7.attn.hook_z", "attn_z", 7),
        ("model.layers.20.output", "resid_post", 20),
        ("model.layers.20", "resid_post", 20),
        ("model.language_model.layers.3.output", "resid_post", 3),
        ("transformer.h.3", "resid_post", 3),
        ("gpt_neox.layers.3.mlp", "mlp_out", 3),
        ("layers.3.mlp.output", "mlp_out", 3),
        ("model.layers.3.post_feedforward_layernorm.output", "mlp_out", 3),
        ("model.layers.3.self_attn", "attn_out", 3),
        ("model.layers.3.self_attn.o_proj.input", "attn_z", 3),
    ],
)
def test_a_name_stands_for_a_site_and_a_layer(name, site, layer):
    assert parse_hook(name) == Hook(site, layer)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "hook_embed",
        "blocks.0.hook_resid_pre",
        "blocks.3.hook_resid_mid",
        "blocks.3.ln2.hook_normalized",
        "blocks.3.mlp.hook_in",
        "blocks.x.hook_resid_post",
        "model.layers.3.input",
        "model.layers.3.mlp.gate_proj",
        "model.layers.3.pre_feedforward_layernorm.output",
        "model.layers.3.self_attn.o_proj.output",
        "model.norm",
    ],
)
def test_other_places_stand_for_nothing(name):
    assert parse_hook(name) is None


@pytest.mark.parametrize("site", SITES)
def test_the_name_we_write_is_read_back_as_the_same_place(site):
    assert parse_hook(Hook(site, 11).lens_name) == Hook(site, 11)
