"""Stage ``steering``: text generated with and without edits of features, and what the edits cost."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ato.causal.feature_edits import FeatureEdit
from ato.causal.steered import Reading, Steered, TextCost, steer, text_cost
from ato.errors import SettingsError
from ato.models.generation import Decoding
from ato.models.language_model import LanguageModel
from ato.numerics.evenly import evenly_spaced
from ato.numerics.intervals import number_or_none
from ato.text.token_texts import TokenTexts
from tasks.engine.columns import estimate_columns
from tasks.engine.exclusive import exclusive
from tasks.engine.model_cache import language_model
from tasks.engine.progress import phase
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.steering.saes import ChosenSAE, inputs_of
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences

NO_RESULT = ("batch_size", "cache", "stop_ids", "stop_at_newline")
"""Of the decoding: what changes no number but for rounding, or is not a choice here."""
MAXIMUM = "select max_activation from feature_stats where collection = ? and sae = ? and feature_id = ?"


@dataclass(frozen=True)
class WantedEdit:
    """An edit as it was asked for."""

    sae: ChosenSAE
    feature_id: int
    how: str = "to"
    amount: float = 0.0
    unit: str = "activation"


@dataclass(frozen=True)
class Steering:
    """What is generated, with which edits."""

    prompts: tuple[str, ...]
    edits: tuple[WantedEdit, ...]
    part: str = "all"
    decoding: Decoding = field(default_factory=Decoding)
    n_sequences: int = 16
    """Held-out sequences that the cost is measured on."""
    n_random: int = 5
    """Random directions beside it."""


def steer_features(study: Study, wanted: Steering) -> str:
    """Generate, unless it was done; returns the key of the steering.

    Raises:
        InputError, SettingsError, SAEError: what was asked for cannot be.
        MismatchError: the settings name another model than the collection's.
        NonFiniteError: the edited model gives NaN.
    """
    if not wanted.prompts or not all(prompt.strip() for prompt in wanted.prompts):
        raise SettingsError("an empty prompt", cure='give some text, such as --prompt "The bridge"')
    study.check_same_model()
    edits = [_edit(study, one) for one in wanted.edits]
    stage = _stage(study, wanted, edits)
    with exclusive(study.warehouse, "steering", study.collection):
        if stage.skip():
            return stage.key
        lm = language_model(study.model)
        with stage:
            prompts = _token_ids(study, lm, wanted.prompts)
            with phase("steer", "generating"):
                found = steer(lm, prompts, edits, wanted.decoding, wanted.part)
            with phase("steer", "cost on held-out text"):
                cost = _cost(study, lm, wanted, edits)
            shared = _shared(study, wanted, edits, cost) | {"collection": study.collection, "steering": stage.key}
            stage.write("steering_runs", [_row(one, wanted, prompts, shared) for one in found])
            stage.write("steering_readings", [*_readings(stage, lm, wanted, prompts, found)])
    return stage.key


def _edit(study: Study, one: WantedEdit) -> FeatureEdit:
    largest = rows(study.warehouse, MAXIMUM, [study.collection, one.sae.key, one.feature_id])
    maximum = largest[0]["max_activation"] if largest and one.unit == "maximum" else None
    what = one.how, one.amount, one.unit
    return FeatureEdit(one.sae.sae, one.sae.layer, one.feature_id, *what, maximum=maximum, site=one.sae.site)


def _stage(study: Study, wanted: Steering, edits: Sequence[FeatureEdit]) -> Stage:
    own = {name: value for name, value in asdict(wanted.decoding).items() if name not in NO_RESULT}
    own |= {
        "prompts": list(wanted.prompts),
        "edits": _as_json(wanted, edits),
        "weights": [edit.sae.weights_hash for edit in edits],
        "part": wanted.part,
        "n_sequences": wanted.n_sequences,
        "n_random": wanted.n_random,
        "dtype": study.model.dtype,
    }
    slug = f"steer-{'-'.join(edit.name.replace('/', '.') for edit in edits[:3])}"
    return study.stage("steering", slug, settings=own, inputs=inputs_of(study, [one.sae for one in wanted.edits]))


def _as_json(wanted: Steering, edits: Sequence[FeatureEdit]) -> list[dict[str, Any]]:
    names = ("layer", "site", "feature_id", "how", "amount", "unit", "maximum")
    return [
        {"sae": one.sae.key} | {name: getattr(edit, name) for name in names} for one, edit in zip(wanted.edits, edits)
    ]


def _token_ids(study: Study, lm: LanguageModel, prompts: Sequence[str]) -> list[np.ndarray]:
    """Ids of prompts, with a BOS token where the collection's sequences have one."""
    bos = [lm.tokenizer.bos_token_id] if study.row.made_with["prepend_bos"] else []
    encoded = lm.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    return [np.array([*bos, *ids], dtype=np.int64) for ids in encoded]


def _cost(study: Study, lm: LanguageModel, wanted: Steering, edits: Sequence[FeatureEdit]) -> TextCost:
    sequences = evenly_spaced(stored_sequences(study.warehouse, study.collection, splits=["test"]), wanted.n_sequences)
    ids, documents = [q.token_ids for q in sequences], [q.document_id for q in sequences]
    return text_cost(lm, ids, documents, edits, n_random=wanted.n_random, seed=wanted.decoding.seed)


def _shared(study: Study, wanted: Steering, edits: Sequence[FeatureEdit], cost: TextCost) -> dict[str, Any]:
    random = cost.random[np.isfinite(cost.random)]
    return {
        "edits": json.dumps(_as_json(wanted, edits)),
        "saes": [one.sae.key for one in wanted.edits],
        "layers": [edit.layer for edit in edits],
        "feature_ids": [edit.feature_id for edit in edits],
        "edited_tokens": wanted.part,
        "kl_text_random": number_or_none(random.mean()) if len(random) else None,
        "n_random": len(random),
        "n_text_tokens": cost.n_tokens,
        "n_text_documents": cost.n_documents,
        "temperature": wanted.decoding.temperature,
        "max_new_tokens": wanted.decoding.max_new_tokens,
        "seed": wanted.decoding.seed,
        "model": study.row.model,
        "dtype": study.model.dtype,
    } | estimate_columns(kl_text=cost.kl)


def _row(one: Steered, wanted: Steering, prompts: Sequence[np.ndarray], shared: dict[str, Any]) -> dict[str, Any]:
    own = {
        "prompt_number": one.prompt,
        "sample": one.sample,
        "prompt": wanted.prompts[one.prompt],
        "n_prompt_tokens": len(prompts[one.prompt]),
        "kl_prompt": one.kl_prompt,
        "kl_continuation": one.kl_continuation,
        "log_p_unedited_in_edited": one.unedited.log_p_other,
        "log_p_edited_in_unedited": one.edited.log_p_other,
    }
    for name, said in (("unedited", one.unedited), ("edited", one.edited)):
        own |= {
            f"text_{name}": said.text,
            f"n_tokens_{name}": len(said.token_ids),
            f"ended_{name}": said.ended,
            f"log_p_{name}": said.log_p,
            f"repetition_{name}": said.repetition,
        }
    return shared | own


def _readings(
    stage: Stage, lm: LanguageModel, wanted: Steering, prompts: Sequence[np.ndarray], found: Sequence[Steered]
) -> Iterator[dict[str, Any]]:
    texts = TokenTexts(lm.tokenizer)
    for one in found:
        for reading in one.readings:
            edit, n_prompt = wanted.edits[reading.edit], len(prompts[one.prompt])
            shared = {
                "collection": stage.collection,
                "steering": stage.key,
                "prompt_number": one.prompt,
                "sample": one.sample,
                "text": "edited" if reading.of_edited else "unedited",
                "edit": reading.edit,
                "sae": edit.sae.key,
                "layer": edit.sae.layer,
                "feature_id": edit.feature_id,
            }
            yield from (shared | own for own in _tokens(reading, n_prompt, texts))


def _tokens(reading: Reading, n_prompt: int, texts: TokenTexts) -> Iterator[dict[str, Any]]:
    for position, (token, text) in enumerate(zip(reading.token_ids.tolist(), texts.of(reading.token_ids))):
        yield {
            "position": position,
            "token_id": token,
            "token": text,
            "is_generated": position >= n_prompt,
            "is_edited": bool(reading.is_edited[position]),
            "before": float(reading.before[position]),
            "after": None if reading.after is None else float(reading.after[position]),
        }
