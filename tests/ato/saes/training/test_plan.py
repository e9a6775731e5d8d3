"""A plan refuses in one line what contradicts itself, and what its architecture has not."""

import pytest

from ato.errors import SettingsError
from ato.saes.training.methods import TRAINABLE
from ato.saes.training.methods.method import OPTIONS
from ato.saes.training.plan import TrainingPlan

VALUES = {"l1_coefficient": 1.0, "widths": (8, 32)}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"architecture": "relu"}, "cannot be trained: use batchtopk or gated or"),
        ({"k": 33}, "k = 33 is not between 1 and d_sae = 32: choose a smaller k"),
        ({"k": 0}, "k = 0 is not between 1 and d_sae = 32: choose a k of at least 1"),
        ({"lr": 0.0}, "lr = 0.0 must be positive"),
        ({"max_grad_norm": -1.0}, "max_grad_norm = -1.0 must be positive"),
        ({"held_out_every": 0}, "held_out_every = 0 must be positive"),
        ({"dead_threshold": 1.5}, "dead_threshold = 1.5 is not a share"),
        ({"warm_up_share": 0.6, "decay_share": 0.6}, "more than all steps: lower one of them"),
        ({"lr_decay": "step"}, "lr_decay = 'step' is none of the choices: use constant or linear or cosine"),
        ({"dead_features": "revive"}, "use auxiliary or resample or none"),
        ({"architecture": "matryoshka_batchtopk", "widths": (8, 4, 32)}, "do not rise to d_sae = 32"),
        ({"architecture": "matryoshka_batchtopk", "widths": (8, 16)}, "do not rise to d_sae = 32"),
        ({"architecture": "topk", "l1_coefficient": 1.0}, "topk has no l1_coefficient: .* train gated or standard"),
        ({"architecture": "gated", "widths": (8, 32)}, "gated has no widths: .* train matryoshka_batchtopk"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(settings, told):
    with pytest.raises(SettingsError, match=told) as error:
        TrainingPlan(**{"d_sae": 32, "k": 4} | settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", TRAINABLE)
def test_each_architecture_takes_the_settings_that_it_has_and_no_others(name):
    assert set(VALUES) == set(OPTIONS)
    for option, value in VALUES.items():
        if option in TRAINABLE[name].options:
            TrainingPlan(name, 32, 4, **{option: value})
        else:
            with pytest.raises(SettingsError, match=f"{name} has no {option}"):
                TrainingPlan(name, 32, 4, **{option: value})
