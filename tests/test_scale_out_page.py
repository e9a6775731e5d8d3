"""docs/scale-out.md: the numbers of the plan are those that the program's own formulas give."""

import re
from pathlib import Path

import pytest
import yaml

from ato.models.shapes import KNOWN
from flows.estimates import sizes
from flows.settings import Settings

PAGE = (Path(__file__).parents[1] / "docs" / "scale-out.md").read_text(encoding="utf-8")
HOST, CARDS = 8, 64
BF16, FP32 = 0.4 * 989e12, 0.7 * 67e12


@pytest.fixture(scope="module")
def plan():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    return Settings.model_validate(yaml.safe_load(text))


@pytest.fixture(scope="module")
def shape(plan):
    return KNOWN[plan.model.name]


def test_model_is_described_as_it_is(shape):
    d, block = 4608, 4608 * (32 + 16 + 16 + 32) * 128 + 3 * 4608 * 36864 + 4 * 4608  # attention, MLP, norms
    assert shape.n_parameters == 46 * block + 256_000 * d + d
    assert f"L = {shape.n_layers} blocks, d = {shape.d_model:,}, vocabulary {shape.vocabulary:,}" in PAGE
    assert f"/ {shape.n_layers} = {shape.n_block_parameters:,}" in PAGE


def test_operations_and_seconds(plan, shape):
    tokens, d = plan.collect.n_tokens, shape.d_model
    assert len(plan.operators.pairs) == 12
    assert len(plan.layers) == 15
    forward = shape.forward_flops(max(plan.layers) + 1)
    own, null = sizes.own_products(plan), sizes.null_products(plan)
    moments = 2 * d * d * (own + sizes.TRAIN * null)
    encoding = 2 * d * 131_072 * sizes.TEST * sizes.kept_tokens(plan)
    assert f"= {forward / 1e9:.1f} GFLOP per token | {forward * tokens:.2e}".replace("e+", "e") in PAGE
    assert f"| {forward * tokens / CARDS / BF16:,.0f} s |" in PAGE
    assert f"({own} products + 0.6 x {null} of the null) = {moments / 1e9:.2f} GFLOP per token" in PAGE
    assert f"| {moments * tokens:.2e} | {moments * tokens / CARDS / FP32:,.0f} s |".replace("e+", "e") in PAGE
    test = sizes.TEST * forward * tokens
    assert f"| {test:.2e} | {test / CARDS / BF16:,.0f} s |".replace("e+", "e") in PAGE
    assert f"| {encoding:.2e} | {encoding / CARDS / FP32:,.0f} s |".replace("e+", "e") in PAGE
    assert f"9 d³ = {9 * d**3 / 1e9:,.0f} GFLOP" in PAGE
    assert f"{forward * tokens / HOST / BF16 / 3600:.1f} hours on eight" in PAGE
    assert f"{test / BF16 / 3600:.1f} hours on one" in PAGE
    assert f"four passes take {4 * test / BF16 / 3600:.0f} hours" in PAGE
    assert f"they take {0.1 * 4 * test / BF16 / 3600:.1f} hours" in PAGE
    assert f"{0.1 * sizes.TRAIN * tokens / d:,.0f} train tokens per dimension" in PAGE
    assert f"cost {4 * test / CARDS / BF16 / 60:.0f} minutes" in PAGE


def test_bytes(plan, shape):
    d, collect = shape.d_model, plan.collect.model_copy(update={"store_activations": True})
    stored = plan.model_copy(update={"collect": collect})
    activations, moments = sizes.activation_bytes(stored, d), sizes.moments_bytes(plan, d)
    forward_seconds = shape.forward_flops(max(plan.layers) + 1) * plan.collect.n_tokens / CARDS / BF16
    assert f"{sizes.kept_tokens(plan):,} tokens x {len(plan.layers)} layers" in PAGE
    assert f"{activations / 1e12:.1f} TB" in PAGE
    assert f"is {activations / forward_seconds / 1e9:.0f} GB/s" in PAGE
    assert f"which takes {activations / 16e9 / 3600:.1f} hours" in PAGE
    null = sizes.null_products(plan)
    assert f"x {sizes.n_groups(plan)} groups + {null} of the null) | {moments / 1e9:.1f} GB |" in PAGE
    assert f"({HOST * moments / 1e9:.0f} GB)" in PAGE
    assert f"{3 * moments / 25e9:.1f} s; as chains of 64 it would take 63 rounds, {63 * moments / 25e9:.0f} s" in PAGE
    weights, of_one = 2 * shape.n_parameters, plan.operators.model_copy(update={"target_layers": [10]})
    assert f"| {weights / 1e9:.1f} GB |" in PAGE
    assert f"{weights / 1e9:.1f} + {moments / 1e9:.1f} = {(weights + moments) / 1e9:.1f} GB" in PAGE
    share = sizes.moments_bytes(plan.model_copy(update={"operators": of_one}), d)
    assert f"need {share / 1e9:.1f} GB for moments" in PAGE
    merges = [max(1, CARDS // 2 ** (round_ + 1) // HOST) for round_ in range(6)]  # of each round, one after another
    assert f"take {HOST * moments / 2e9:.0f} s to write" in PAGE
    assert f"{sum(merges) * 3 * moments / 2e9:.0f} s." in PAGE
    assert f"| {4 * (2 * d * 131_072 + d + 2 * 131_072) / 1e9:.1f} GB |" in PAGE
    assert f"| {8 * 131_072**2 / 1e9:.1f} GB |" in PAGE
    assert f"it is {8 * 16_384**2 / 1e9:.1f} GB" in PAGE
    assert f"| {12 * 6 * 131_072 * 160 / 1e9:.1f} GB |" in PAGE
