"""Faults of the settings of stage ``label``."""

from collections.abc import Iterator

from ato.autointerp.label_spaces import label_space
from ato.autointerp.sentence_encoder import PACKAGE, installed_archive
from ato.errors import DamagedFileError, SAEError, SettingsError, UnavailableError
from ato.models.shapes import ModelShape
from flows.judging.faults import Fault
from flows.judging.layers import sae_layers
from flows.settings import Settings
from warehouse.catalog.catalog import rows


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Layers without an SAE, an unknown label space, tests that ask for more than there is, a budget without prices."""
    yield from _list(settings)
    yield from _layers(settings)
    yield from _nothing(settings)
    yield from _space(settings)
    yield from _encoder(settings)
    yield from _trials(settings)
    yield from _budgets(settings)


def _list(settings: Settings) -> Iterator[Fault]:
    s = settings.label
    if s.list is None:
        return
    known = [row["list"] for row in rows(None, "select list from lists order by list")]
    if s.list not in known:
        yield Fault(
            "label.list",
            s.list,
            "there is no such list",
            f"use one of {', '.join(known)}" if known else "make it: `ato list add`",
        )
    for name, value in (("features", s.features), ("studied", s.studied)):
        if value:
            yield Fault(
                f"label.{name}", value, "label.list says which features are labelled", "leave one of the two out"
            )


def _layers(settings: Settings) -> Iterator[Fault]:
    s, having = settings.label, sae_layers(settings)
    adapted: tuple[int, ...] = ()
    if s.adapter is not None:
        from ato.saes.adapter_files import adapter_shape

        try:
            adapted = adapter_shape(s.adapter).active_layers
        except (SAEError, DamagedFileError) as error:
            yield Fault("label.adapter", s.adapter, error.what, error.cure or "use another folder")
            adapted = tuple(s.adapter_layers or ())
    named = {
        "label.layers": (s.layers or [], having, "SAE"),
        "label.features": (list(s.features), [*having, *adapted], "SAE"),
    }
    named["label.adapter_layers"] = (s.adapter_layers or [], list(adapted), "adapter at work")
    for setting, (layers, known, what) in named.items():
        if missing := sorted(set(layers) - set(known)):
            why = f"layers {', '.join(map(str, missing))} have no {what}"
            without = "name some in saes.layers" if what == "SAE" else "set label.adapter to a checkpoint"
            yield Fault(setting, layers, why, f"use layers of {sorted(set(known))}" if known else without)


def _nothing(settings: Settings) -> Iterator[Fault]:
    s = settings.label
    if (s.layers == [] or not sae_layers(settings)) and not s.studied and s.adapter is None and s.list is None:
        works = "name layers in saes.layers, SAEs of a study in label.studied, or label.adapter"
        yield Fault("label.layers", s.layers, "there is no SAE whose features could be labelled", works)


def _space(settings: Settings) -> Iterator[Fault]:
    name = settings.label.label_space
    if name is not None:
        try:
            label_space(name)
        except SettingsError as error:
            yield Fault("label.label_space", name, error.what, error.cure or "use feature-categories")


def _encoder(settings: Settings) -> Iterator[Fault]:
    for setting in ("judge", "second_judge"):
        if getattr(settings.label, setting) == "embedding":
            try:
                installed_archive()
            except UnavailableError as error:
                yield Fault(f"label.{setting}", "embedding", error.what, error.cure or f"install {PACKAGE}")


def _trials(settings: Settings) -> Iterator[Fault]:
    s = settings.label
    w = s.windows
    active = w.n_held_out_top + w.n_held_out_random
    if s.n_trials > active:
        why = f"label.windows.n_held_out_top and n_held_out_random collect {active} windows"
        yield Fault("label.n_trials", s.n_trials, why, f"use at most {active}, or collect more")
    if s.n_trials > w.n_silent:
        why = f"label.windows.n_silent={w.n_silent} silent windows are collected per tier"
        yield Fault("label.n_trials", s.n_trials, why, f"use at most {w.n_silent}, or collect more")
    if s.n_candidates > 1 and s.judge == "overlap":
        why = "the judge overlap writes the same words each time"
        yield Fault("label.n_candidates", s.n_candidates, why, "use 1, or another judge", stops=False)
    if s.second_judge == s.judge and (s.judge != "chat" or s.second_chat.model == s.chat.model):
        why = "it is the first judge once more, and would agree with itself"
        yield Fault("label.second_judge", s.second_judge, why, "name another one, or leave it out")


def _budgets(settings: Settings) -> Iterator[Fault]:
    s = settings.label
    for name, chat, judge in (("chat", s.chat, s.judge), ("second_chat", s.second_chat, s.second_judge)):
        if judge == "chat" and chat.max_cost is not None and None in (chat.prompt_price, chat.completion_price):
            why = "without prices nothing is known to cost anything"
            works = f"set label.{name}.prompt_price and label.{name}.completion_price"
            yield Fault(f"label.{name}.max_cost", chat.max_cost, why, works)
