"""Workers of another kind of processor than the flow process: they refuse, for they would make other keys."""

from types import SimpleNamespace

import pytest

from ato.errors import SettingsError
from ato.numerics import devices
from tasks.collect.parts import plan_shards
from tasks.engine.worker_precision import check_worker_precision
from tasks.sae_study.task import study_layer
from tasks.saes.task import obtain_sae
from tasks.settings import SAESettings, SAEStudySettings
from tasks.settings.sae_study import StudiedSAE

AUTO = SimpleNamespace(device="cpu", dtype="auto")
STUDY = SimpleNamespace(model=AUTO)


@pytest.fixture(autouse=True)
def plain_processor(monkeypatch):
    """A worker that multiplies no bfloat16."""
    monkeypatch.setattr(devices, "_multiplies_bfloat16", lambda device: False)


def test_parts_of_every_stage_that_is_keyed_by_a_precision_refuse_another_one():
    work = SimpleNamespace(model=AUTO, dtype="bfloat16", collection="c", settings=None)
    studied = SAEStudySettings(saes=[StudiedSAE(layer=2)])
    for part, arguments in (
        (plan_shards, (work,)),
        (obtain_sae, (2, STUDY, SAESettings(), "torch.bfloat16")),
        (study_layer, (2, STUDY, studied, None, "torch.bfloat16")),
    ):
        with pytest.raises(SettingsError, match=r"this worker would .* in float32, the flow process in bfloat16"):
            part.fn.__wrapped__(*arguments)


def test_the_cure_is_the_setting_that_makes_all_workers_alike():
    with pytest.raises(SettingsError, match=r"--set a\.b=bfloat16") as raised:
        check_worker_precision("torch.float32", "bfloat16", does="run", setting="a.b")
    assert "\n" not in str(raised.value)
    check_worker_precision("torch.bfloat16", "bfloat16", does="run", setting="a.b")
