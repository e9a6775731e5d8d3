"""An adapter on the embedded model and a copy of it that was fine-tuned on one topic of the encyclopedia."""

import copy
import json

import numpy as np
import pytest
import torch

from ato.errors import UnavailableError
from ato.io.embedded import fact_file
from ato.models import LanguageModel, load_model
from ato.saes.adapter_quality import judge_adapter
from ato.saes.training.adapter import AdapterPlan, train_adapter
from ato.text import TokenSequence

pytestmark = pytest.mark.slow
LAYERS = (28, 29)
"""The last two: what is below them needs no gradient, which keeps this short."""
TOPIC, WIDTH = "Mathematics", 48


def texts(tokenizer) -> list[TokenSequence]:
    """A document for each article of the topic, of exactly WIDTH tokens."""
    try:
        every = json.loads(fact_file("articles").read_text(encoding="utf-8")).values()
    except UnavailableError as error:
        pytest.skip(str(error))
    extracts = [article["extract"] for article in every if article["topic"] == TOPIC]
    rows = [tokenizer(extract, add_special_tokens=False)["input_ids"][:WIDTH] for extract in extracts]
    rows = [np.array(ids, dtype=np.int32) for ids in rows if len(ids) == WIDTH]
    return [TokenSequence(i, f"{i:016x}", i, "train", 0, 0, ids, "") for i, ids in enumerate(rows)]


def fine_tuned(base: LanguageModel, sequences: list[TokenSequence], steps: int) -> LanguageModel:
    """A copy whose last two MLPs were trained on next tokens."""
    module = copy.deepcopy(base.module)
    tuned = LanguageModel(base.identity, module, base.tokenizer)
    weights = [weight for layer in LAYERS for weight in tuned.blocks[layer].mlp.parameters()]
    for weight in weights:
        weight.requires_grad_()
    adam = torch.optim.Adam(weights, lr=2e-4)
    for step in range(steps):
        ids = torch.tensor(np.stack([s.token_ids for s in sequences[4 * step : 4 * step + 4]]), dtype=torch.long)
        logits = tuned.parts.logits(tuned.parts.body(input_ids=ids, use_cache=False).last_hidden_state)
        adam.zero_grad()
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        adam.step()
    for weight in weights:
        weight.requires_grad_(False)
    return tuned


def test_an_adapter_brings_base_mlps_nearer_to_a_copy_fine_tuned_on_one_topic():
    base = load_model("smollm2-135m", device="cpu", dtype="float32")
    sequences = texts(base.tokenizer)
    tuned = fine_tuned(base, sequences, steps=6)
    plan = AdapterPlan(n_features=256, l1=1e-4, lr=2e-3, batch_size=4, lambda_bridge=0)
    trained = train_adapter(tuned, base, sequences[24:60], plan, layers=LAYERS)
    judged = judge_adapter(tuned, base, trained.adapter, sequences[60:72])
    assert judged.n_documents == 12
    assert float(judged.kl["adapted"]) < 0.9 * float(judged.kl["base MLPs"])
    assert float(judged.kl["adapted"]) < float(judged.kl["permuted"])
    assert float(judged.agreement["adapted"]) >= float(judged.agreement["base MLPs"])
    assert float(judged.kl["base MLPs"]) == pytest.approx(float(judged.kl["base"]), rel=1e-3)  # no other weight moved
    assert set(judged.l0) == set(LAYERS)
