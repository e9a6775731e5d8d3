"""The public file layout of Jacobian lenses: written, read by plain PyTorch, and refused where it is another."""

import numpy as np
import pytest
import torch

from ato.errors import DamagedFileError, InputError, MismatchError
from ato.jacobians import JacobianLens, load_lens

D = 4


@pytest.fixture
def content():
    rng = torch.Generator().manual_seed(0)
    matrices = {layer: torch.randn(D, D, generator=rng).half() for layer in (0, 2)}
    return {"J": matrices, "n_prompts": 7, "source_layers": [0, 2], "d_model": D}


def test_a_written_file_has_the_layout_of_the_reference_and_comes_back_in_half_precision(tmp_path):
    matrices = {layer: np.random.default_rng(layer).standard_normal((D, D)) for layer in (3, 1)}
    JacobianLens(matrices, 12).save(tmp_path / "lens.pt")
    plain = torch.load(tmp_path / "lens.pt", weights_only=True)
    assert list(plain) == ["J", "n_prompts", "source_layers", "d_model"]
    assert (plain["n_prompts"], plain["source_layers"], plain["d_model"]) == (12, [1, 3], D)
    assert all(x.dtype == torch.float16 for x in plain["J"].values())
    lens = load_lens(tmp_path / "lens.pt")
    assert (lens.n_prompts, lens.d_model, list(lens.matrices)) == (12, D, [1, 3])
    np.testing.assert_allclose(lens.matrices[3], matrices[3], atol=2e-3)


def test_a_file_of_the_reference_is_read_with_or_without_metadata(tmp_path, content):
    for more in ({}, {"metadata": {"model": "gpt2"}}):
        torch.save(content | more, tmp_path / "lens.pt")
        assert torch.equal(torch.from_numpy(load_lens(tmp_path / "lens.pt").matrices[2]), content["J"][2].float())


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"bias": torch.zeros(D)}, DamagedFileError, "unknown entries"),
        ({"source_layers": [0, 1]}, MismatchError, "layers"),
        ({"source_layers": [0, 2, 2]}, MismatchError, "layers"),
        ({"d_model": D + 1}, MismatchError, "not \\(5, 5\\)"),
        ({"J": {0: torch.zeros(D, D), 2: torch.zeros(D, D + 1)}}, MismatchError, "J\\[2\\]"),
        ({"J": {0: torch.zeros(D, D), 2: torch.full((D, D), torch.nan)}}, DamagedFileError, "NaN"),
        ({"J": {}, "source_layers": []}, DamagedFileError, "not what they should be"),
        ({"J": {"0": torch.zeros(D, D)}}, DamagedFileError, "not what they should be"),
        ({"J": {0: torch.zeros(D, D, dtype=torch.int8)}}, DamagedFileError, "not what they should be"),
        ({"n_prompts": "many"}, DamagedFileError, "not what they should be"),
    ],
)
def test_what_is_not_in_the_layout_is_refused_in_one_line(tmp_path, content, changes, error, says):
    torch.save(content | changes, tmp_path / "lens.pt")
    with pytest.raises(error, match=says) as refused:
        load_lens(tmp_path / "lens.pt")
    assert "\n" not in str(refused.value)


def test_other_files_and_pickled_code_are_refused(tmp_path, content):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    for name, value in {"list": [1], "checkpoint": {"sum": 1}, "code": content | {"J": {0: Evil()}}}.items():
        torch.save(value, tmp_path / name)
        with pytest.raises(DamagedFileError):
            load_lens(tmp_path / name)
    (tmp_path / "text").write_text("no lens")
    with pytest.raises(DamagedFileError):
        load_lens(tmp_path / "text")
    with pytest.raises(InputError):
        load_lens(tmp_path / "none")
    with pytest.raises(InputError, match="float16"):
        JacobianLens({0: np.full((D, D), 1e6)}, 1).save(tmp_path / "large")
    with pytest.raises(InputError, match="no Jacobian"):
        JacobianLens({}, 1).save(tmp_path / "empty")
