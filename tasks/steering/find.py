"""Stage ``feature_find``: the features of a concept, in the SAEs of a collection."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

from ato.features.concept_texts import ConceptTexts, own_texts, phrase_texts
from ato.features.search import FeatureSearch, SearchSettings, find_features
from ato.features.text_activations import SearchedSAE
from tasks.engine.columns import estimate_columns
from tasks.engine.exclusive import exclusive
from tasks.engine.model_cache import language_model
from tasks.engine.progress import Progress
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.steering.saes import ChosenSAE, inputs_of

NO_RESULT = ("batch_size",)
"""Settings that change no number but for rounding."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for, and how."""

    phrase: str
    """The concept; of a user's texts where it occurs in them, or a name for it."""
    with_concept: tuple[str, ...] = ()
    """A user's texts; without them texts are made of the phrase."""
    without: tuple[str, ...] = ()
    settings: SearchSettings = field(default_factory=SearchSettings)

    @cached_property
    def texts(self) -> ConceptTexts:
        """The texts; SettingsError if they say nothing."""
        if not self.with_concept and not self.without:
            return phrase_texts(self.phrase, self.settings.seed)
        return own_texts(self.phrase, self.with_concept, self.without, self.phrase, self.settings.seed)


def find(study: Study, saes: Sequence[ChosenSAE], wanted: Wanted) -> str:
    """Search, unless it was done; returns the key of the search.

    Raises:
        InputError, SettingsError, SAEError: as ``find_features``.
        MismatchError: the settings name another model than the collection's.
    """
    study.check_same_model()
    settings = SearchSettings(**asdict(wanted.settings) | {"prepend_bos": bool(study.row.made_with["prepend_bos"])})
    stage = _stage(study, saes, wanted, settings)
    with exclusive(study.warehouse, "steering", study.collection):
        if stage.skip():
            return stage.key
        lm = language_model(study.model)
        with stage, Progress("find", len(wanted.texts.texts), "texts") as progress:
            searched = [SearchedSAE(one.key, one.layer, one.sae, one.site) for one in saes]
            found = find_features(lm, searched, wanted.texts, settings, progress.advance)
            sites = {one.key: one.site for one in saes}
            stage.write("feature_finds", _rows(stage, wanted.texts, settings, found, sites))
    return stage.key


def _stage(study: Study, saes: Sequence[ChosenSAE], wanted: Wanted, settings: SearchSettings) -> Stage:
    texts = wanted.texts
    own = {name: value for name, value in asdict(settings).items() if name not in NO_RESULT}
    own |= {
        "concept": texts.concept,
        "texts": sha256("\0".join([*texts.texts, *map(str, texts.label.tolist())]).encode()).hexdigest(),
        "saes": [(one.key, one.layer, one.site, one.sae.weights_hash) for one in saes],
        "dtype": study.model.dtype,
    }
    return study.stage("feature_find", f"find-{texts.concept[:24]}", settings=own, inputs=inputs_of(study, saes))


def _rows(
    stage: Stage, texts: ConceptTexts, settings: SearchSettings, search: FeatureSearch, sites: dict[str, str]
) -> list[dict[str, Any]]:
    shared = {
        "collection": stage.collection,
        "search": stage.key,
        "concept": texts.concept,
        "origin": "files" if texts.template is None else "templates",
        "tokens": settings.tokens,
        "reduction": settings.reduce,
        "null_kind": search.null,
        "n_null": len(search.null_aurocs),
        "null_auroc_high": search.null_high,
        "baseline_auroc": search.baseline_auroc,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
    }
    counts = ("n_with", "n_without", "n_with_chosen", "n_without_chosen", "n_features", "n_cut")
    shared |= {name: getattr(search, name) for name in counts}
    found = []
    for rank, one in enumerate(search.found, 1):
        own = {name: value for name, value in vars(one).items() if name != "auroc"}
        found.append(shared | own | estimate_columns(auroc=one.auroc) | {"rank": rank, "site": sites[one.sae]})
    return found
