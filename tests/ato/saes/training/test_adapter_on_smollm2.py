"""An adapter on the embedded model and a copy of it that was fine-tuned on one topic of the encyclopedia."""

import pytest

from ato.errors import UnavailableError
from ato.models import load_model
from ato.saes.adapter_quality import judge_adapter
from ato.saes.training.adapter import AdapterPlan, train_adapter
from examples.adapters import articles, fine_tuning, table_rows

pytestmark = pytest.mark.slow
LAYERS = (29,)
"""The last one: what is below it needs no gradient, which keeps this short. ``examples.adapters`` has four, and minutes."""


def test_an_adapter_brings_base_mlps_nearer_to_a_copy_fine_tuned_on_one_topic():
    base = load_model("smollm2-135m", device="cpu", dtype="float32")
    try:
        sequences = articles(base.tokenizer, width=16)
    except UnavailableError as error:
        pytest.skip(str(error))
    ((_, tuned),) = fine_tuning(base, sequences[:16], LAYERS, steps=[4], rows=4)
    plan = AdapterPlan(n_features=256, l1=1e-4, lr=4e-3, batch_size=4, lambda_bridge=0)
    trained = train_adapter(tuned, base, sequences[16:36], plan, layers=LAYERS)
    judged = judge_adapter(tuned, base, trained.adapter, sequences[40:48], batch_size=8)
    assert judged.n_documents == 8
    assert float(judged.kl["adapted"]) < 0.9 * float(judged.kl["base MLPs"])
    assert float(judged.kl["adapted"]) < float(judged.kl["permuted"])
    assert float(judged.agreement["adapted"]) >= float(judged.agreement["base MLPs"])
    assert float(judged.kl["base MLPs"]) == pytest.approx(float(judged.kl["base"]), rel=1e-3)  # no other weight moved
    assert set(judged.l0) == set(LAYERS)
    assert [row[3] for row in table_rows(1e-4, judged)] == ["adapted", "base MLPs", "permuted", "fine-tuned"]
