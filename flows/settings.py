"""All settings of a run, their profiles, and the ``a.b=value`` overrides of the command line."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ato.errors import SettingsError
from ato.residuals.position_policies import parse_policy
from flows.judging.faults import LONGEST_VALUE, NOT_SHOWN, Fault, FaultySettings
from flows.plain_yaml import read_yaml
from flows.presets import apply_preset
from tasks.settings import (
    CausalSettings,
    CollectSettings,
    CompareSettings,
    EmbedSettings,
    EntitySettings,
    EvaluateSettings,
    ExplainSettings,
    FanOutSettings,
    FateSettings,
    FeatureSettings,
    GraphSettings,
    JacobianSettings,
    LabelSettings,
    ModelSettings,
    OperatorSettings,
    ReportSettings,
    SAESettings,
    SAEStudySettings,
    StageSettings,
)

if TYPE_CHECKING:
    from tasks.engine.study import Study

PROFILES = Path(__file__).parent / "profiles"


class Settings(StageSettings):
    """Settings of every stage; a profile is a YAML file of this shape with the values that differ from the defaults.

    Or from those of another profile, which it names under ``extends``.
    """

    model: ModelSettings = ModelSettings()
    collect: CollectSettings = CollectSettings()
    saes: SAESettings = SAESettings()
    features: FeatureSettings = FeatureSettings()
    explain: ExplainSettings = ExplainSettings()
    jacobians: JacobianSettings = JacobianSettings()
    operators: OperatorSettings = OperatorSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    causal: CausalSettings = CausalSettings()
    entities: EntitySettings = EntitySettings()
    sae_study: SAEStudySettings = SAEStudySettings()
    graphs: GraphSettings = GraphSettings()
    label: LabelSettings = LabelSettings()
    fate: FateSettings = FateSettings()
    embed: EmbedSettings = EmbedSettings()
    compare: CompareSettings = CompareSettings()
    report: ReportSettings = ReportSettings()
    fan_out: FanOutSettings = FanOutSettings()

    @property
    def collecting(self) -> CollectSettings:
        """What to collect: as set, plus the attention that the operators' position policy needs."""
        policy = parse_policy(self.operators.position_policy)
        if not policy.needs_attention:
            return self.collect
        if self.model.attention != "eager":
            raise SettingsError(
                f"position policy {policy.name} needs attention weights",
                where=f"model.attention={self.model.attention}",
                cure="--set model.attention=eager",
            )
        layers = {*self.collect.attention_layers, *(target for _, target in self.operators.pairs)}
        top_k = max(self.collect.attention_top_k, policy.k)
        return self.collect.model_copy(update={"attention_layers": sorted(layers), "attention_top_k": top_k})

    @property
    def can_intervene(self) -> bool:
        """Whether transported residuals can be put back into the running model."""
        return self.collect.site == "resid_post" and self.operators.position_policy == "same"

    @property
    def needs_features(self) -> bool:
        """Whether operators are fitted for selected features, and so after them."""
        return "rrr_features" in self.operators.methods

    @property
    def needs_jacobians(self) -> bool:
        """Whether operators are made of Jacobians, and so after them."""
        return self.operators.measured

    @property
    def studies_innovations(self) -> bool:
        """Whether the study of SAEs has some that need an operator of this study."""
        return any(sae.is_innovation and sae.operator is None for sae in self.sae_study.saes)

    @property
    def layers(self) -> list[int]:
        """Layers to read: as set; default: those that pairs and SAEs need."""
        if self.collect.layers is not None:
            return sorted(set(self.collect.layers))
        return sorted({*self.saes.layers, *self.saes.paths, *self.saes.releases, *self.operators.layers})

    @property
    def studied_saes(self) -> SAEStudySettings:
        """The study of SAEs, its grid on the layers of stage ``saes`` unless it names some."""
        own = self.sae_study
        return own if own.layers is not None else own.model_copy(update={"layers": self.saes.layers})

    def study(self, collection: str) -> "Study":
        """The study of a collection, as its stages take it."""
        from tasks.engine.study import Study

        return Study(collection, self.model, tuple(self.collect.strata), self.jacobians)


def profile_names() -> list[str]:
    """Names of the built-in profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_settings(profile: str = "demo", overrides: Sequence[str] = (), presets: Sequence[str] = ()) -> Settings:
    """Settings of a profile, changed by presets in order, then by ``a.b=value`` overrides; values are read as YAML.

    Args:
        profile: a name or a YAML file.
        overrides: ``a.b=value``, one setting each.
        presets: names of presets.

    Raises:
        SettingsError: unknown profile, preset or setting (naming the nearest), or a value of the wrong type.
    """
    values = profile_values(profile)
    for preset in presets:
        values = apply_preset(values, preset)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"cannot read the override {override!r}", cure="write --set stage.setting=value")
        *path, last = name.strip().split(".")
        inner = values
        for step in path:
            inner = inner.setdefault(step, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"{step} is a value, not a group of settings", where=f"--set {override}")
        inner[last] = read_yaml(text, where=f"--set {override[:100]}")
    return settings_of(values)


def settings_of(values: dict[str, Any]) -> Settings:
    """Settings of their values, stage -> setting -> value.

    Raises:
        FaultySettings: all that is wrong with them, a line each.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _faults(error) from None


def with_list(settings: Settings, flow: str, name: str) -> Settings:
    """Settings under which a flow looks at the features of a list.

    Raises:
        SettingsError: another flow than ``label``, or no name.
    """
    if flow != "label" or not name.strip():
        raise SettingsError(f"flow {flow} takes no list", where=f"--list {name}", cure="use it with `ato run label`")
    return settings.model_copy(update={"label": settings.label.model_copy(update={"list": name.strip()})})


def profile_values(profile: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Values of a profile (stage -> setting -> value) as its file has them, over those of the one that it extends.

    Args:
        profile: a name or a YAML file.
        above: files of the profiles that extend it.

    Raises:
        SettingsError: unknown profile, or a file that is no profile.
    """
    path = Path(profile) if profile.endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    if not path.is_file():
        raise SettingsError(f"no profile {profile!r}", cure=f"use one of {', '.join(profile_names())}, or a .yaml file")
    values = read_yaml(path.read_text(encoding="utf-8"), where=path) or {}
    if not isinstance(values, dict):
        raise SettingsError("a profile is a mapping of stages to settings", where=path)
    if path in above:
        raise SettingsError("a profile cannot extend itself", where=" > ".join(map(str, (*above, path))))
    base = values.pop("extends", None)
    return values if base is None else _merged(profile_values(str(base), (*above, path)), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A profile's values over those of the profile that it extends: groups are merged, all else is replaced."""
    merged = dict(base)
    for name, value in values.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _faults(error: ValidationError) -> FaultySettings:
    """All that is wrong with values and names, a line each."""
    found: dict[str, Fault] = {}
    for one in error.errors():
        name, field = _setting(one["loc"])
        if one["type"] == "extra_forbidden":
            fault = _unknown(name)
        else:
            more = f"see `ato settings {name.partition('.')[0]}`"
            known = field is not None and not field.is_required()
            default = (
                "" if field is None or not known else f"the default is {field.get_default(call_default_factory=True)!r}"
            )
            reason = one["msg"].removeprefix("Value error, ")
            works = f"{default[:LONGEST_VALUE]}; {more}" if default else more
            fault = Fault(name, one["input"] if field else NOT_SHOWN, reason[:1].lower() + reason[1:], works)
        found.setdefault(name, fault)
    return FaultySettings([*found.values()])


def _setting(place: tuple[int | str, ...]) -> tuple[str, FieldInfo | None]:
    """Name of a setting with the place in its list, and its declaration, from where pydantic has found a mistake."""
    group: Any = Settings
    field, names = None, []
    for step in place:
        fields = getattr(group, "model_fields", None)
        if isinstance(step, int):
            names.append(str(step))
        elif fields is not None:
            names.append(step)
            field = fields.get(step)
            group = None if field is None else _group_in(field.annotation)
    is_group = field is None or hasattr(field.annotation, "model_fields")
    return ".".join(names), None if is_group else field


def _group_in(annotation: Any) -> Any:
    """The group of settings that a type is, or that it lists; None of other types."""
    if hasattr(annotation, "model_fields"):
        return annotation
    return next((found for found in map(_group_in, get_args(annotation)) if found is not None), None)


def _unknown(name: str) -> Fault:
    *path, last = name.split(".")
    group: Any = Settings
    for step in path:
        if not step.isdecimal():
            group = _group_in(group.model_fields[step].annotation)
    near = difflib.get_close_matches(last, group.model_fields, n=1)
    hint = f"did you mean {'.'.join([*path, near[0]])}?" if near else f"choose from {', '.join(group.model_fields)}"
    return Fault(name, NOT_SHOWN, "unknown setting", hint)
