"""What the operators of a study are fitted and scored with, all pairs alike."""

from dataclasses import dataclass

from tasks.collect.moments import StudyMoments
from tasks.engine.study import Study
from tasks.settings import OperatorSettings


@dataclass(frozen=True)
class FitWork:
    """A study, what is to be fitted, and the moments that it is fitted from."""

    study: Study
    settings: OperatorSettings
    moments: StudyMoments
