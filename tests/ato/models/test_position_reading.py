"""Residuals at positions are those of whole passes, whatever the batch, and nothing else leaves the model."""

import numpy as np
import pytest
import torch

from ato.errors import LayerError, ModelError, SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.position_reading import read_positions
from tests.tiny_models import FAMILIES, save_tiny_model

LENGTHS = (21, 5, 13, 1, 30)
POSITIONS = [np.array(p, dtype=np.int64) for p in ([20, 3], [4], [], [0], [0, 11, 11])]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp(request.param), request.param), dtype="float32")


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, n) for n in LENGTHS]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("site", ["resid_post", "mlp_out"])
def test_residuals_at_positions_are_those_of_whole_passes(model, prompts, batch_size, site):
    batches = list(read_positions(model, prompts, POSITIONS, [2, 0], batch_size=batch_size, site=site))
    prompt, position = (np.concatenate([getattr(b, name) for b in batches]) for name in ("prompt", "position"))
    assert prompt.tolist() == [0, 0, 1, 3, 4, 4, 4]
    assert position.tolist() == [20, 3, 4, 0, 0, 11, 11]
    for layer in (0, 2):
        found = np.concatenate([b.residuals[layer] for b in batches])
        assert found.dtype == np.float32
        for row, i, p in zip(found, prompt, position):
            whole = model.residuals(*pad([prompts[i]]), [layer], site)[layer][0, p]
            np.testing.assert_allclose(row, whole.numpy(), rtol=1e-4, atol=1e-5)


def test_blocks_above_the_highest_layer_are_not_run(model, prompts):
    ran = []
    hooks = [
        model.parts.submodule(i, "attention").register_forward_hook(lambda *_, i=i: ran.append(i)) for i in range(4)
    ]
    try:
        list(read_positions(model, prompts, POSITIONS, [1]))
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [0, 1]


def test_only_the_positions_leave_the_pass(model, prompts, monkeypatch):
    read, sizes = model.read, []

    def spy(*args, **options):
        found = read(*args, **options)
        sizes.extend(x.untyped_storage().nbytes() for x in found.residuals.values())
        return found

    monkeypatch.setattr(model, "read", spy)
    list(read_positions(model, prompts, POSITIONS, [0, 1], batch_size=2))
    assert sizes == [3 * 4 * 32] * 2 + [1 * 4 * 32] * 2 + [3 * 4 * 32] * 2


def test_what_cannot_be_read_is_refused_before_anything_is_run(model, prompts):
    with pytest.raises(SettingsError, match="prompt 1"):
        read_positions(model, prompts, [POSITIONS[0], np.array([5]), *POSITIONS[2:]], [0])
    with pytest.raises(SettingsError, match="4 arrays of positions for 5 prompts"):
        read_positions(model, prompts, POSITIONS[1:], [0])
    with pytest.raises(LayerError, match="0 to 3"):
        read_positions(model, prompts, POSITIONS, [4])
    with pytest.raises(ModelError, match="prompt 0"):
        read_positions(model, [np.array([], dtype=np.int64)], [np.array([])], [0])
    assert list(read_positions(model, prompts, [np.array([])] * 5, [0])) == []
    assert torch.is_grad_enabled()
