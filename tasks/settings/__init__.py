"""Settings of each stage, one class a module: they make up its key, its form and its part of a profile."""

from tasks.settings.base import StageSettings
from tasks.settings.causal import CausalSettings
from tasks.settings.collect import CollectSettings
from tasks.settings.compare import CompareSettings
from tasks.settings.embed import EmbedSettings
from tasks.settings.entities import EntitySettings
from tasks.settings.evaluate import EvaluateSettings
from tasks.settings.explain import ExplainSettings
from tasks.settings.fan_out import FanOutSettings
from tasks.settings.fate import FateSettings
from tasks.settings.features import FeatureSettings
from tasks.settings.graphs import GraphSettings
from tasks.settings.jacobians import JacobianSettings
from tasks.settings.label import LabelSettings
from tasks.settings.model import ModelSettings
from tasks.settings.operators import OperatorSettings
from tasks.settings.report import ReportSettings
from tasks.settings.sae_study import SAEStudySettings
from tasks.settings.saes import SAESettings

__all__ = [
    "CausalSettings",
    "CollectSettings",
    "CompareSettings",
    "EmbedSettings",
    "EntitySettings",
    "EvaluateSettings",
    "ExplainSettings",
    "FanOutSettings",
    "FateSettings",
    "FeatureSettings",
    "GraphSettings",
    "JacobianSettings",
    "LabelSettings",
    "ModelSettings",
    "OperatorSettings",
    "ReportSettings",
    "SAESettings",
    "SAEStudySettings",
    "StageSettings",
]
