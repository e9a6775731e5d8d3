"""The stages of labelling: the evidence of each SAE, keyed by its features and windows; then who labels it, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.label.chosen import Chosen, choose_features, choose_neurons
from tasks.settings import LabelSettings
from tasks.settings.label import ChatSettings
from warehouse.catalog.lookups import SAERow, sae_rows

NEURONS = "neurons"
"""In place of an SAE: the MLP neurons of its layer."""


@dataclass(frozen=True)
class Labelled:
    """An SAE, or the MLP neurons of a layer, whose features are labelled."""

    key: str
    """Of the SAE in all tables."""
    layer: int
    source: str
    """sae, transcoder or neurons."""
    row: SAERow | None
    """None of neurons."""
    chosen: Chosen
    evidence: Stage

    @property
    def slug(self) -> str:
        """Readable part of keys."""
        return self.key if self.row is None else self.key[:-9]


@dataclass(frozen=True)
class LabelStudy:
    """What all stages of one labelling share."""

    study: Study
    sae_keys: tuple[str, ...]
    settings: LabelSettings
    strata: str | None
    """Key of what the corpus says about its documents; None where it says nothing."""
    space: str | None
    """Digest of the label space; None without one."""

    @cached_property
    def members(self) -> list[Labelled]:
        """The SAEs, by layer, each followed by the neurons of its layer if these are labelled too."""
        wanted, layers = self.settings.layers, set[int]()
        found = []
        for row in sae_rows(self.study.warehouse, self.sae_keys):
            if wanted is not None and row.layer not in wanted:
                continue
            chosen = choose_features(self.study.warehouse, self.study.collection, row, self.settings)
            found.append(self._member(row.sae, row.layer, "sae", row, chosen))
            if self.settings.n_neurons and row.layer not in layers:
                neurons = choose_neurons(self.study.model, row.layer, self.settings)
                found.append(self._member(f"{NEURONS}-L{row.layer:02d}", row.layer, NEURONS, None, neurons))
            layers.add(row.layer)
        return found

    @property
    def judges(self) -> list[tuple[str, ChatSettings]]:
        """Kind and server of each judge."""
        first = [(self.settings.judge, self.settings.chat)]
        second = self.settings.second_judge
        return first if second is None else [*first, (second, self.settings.second_chat)]

    def labels(self, member: Labelled, judge: str, chat: ChatSettings) -> Stage:
        """The stage of one SAE and judge.

        How a server is reached changes no answer and no key; the budget does change what is answered: with a larger one
        the labelling is another, which asks nothing twice.
        """
        s = self.settings
        own: dict[str, Any] = s.model_dump(include={"n_candidates", "scorers", "n_trials", "shuffled", "seed"})
        own |= {"judge": judge, "space": self.space}
        if judge == "chat":
            reached = {"base_url", "key_variable", "concurrency", "timeout", "max_attempts", "excerpts_per_call"}
            own["chat"] = chat.model_dump(exclude=reached - {"excerpts_per_call"})
        name = judge_name(judge, chat)
        slug = f"labels-{slug_of(name)}-{member.slug}"
        return self.study.stage("label", slug, settings=own, inputs=[member.evidence.key])

    def agreement(self, member: Labelled) -> Stage | None:
        """The stage that compares two judges of one SAE; None with one judge or without a label space."""
        if len(self.judges) < 2 or self.space is None:
            return None
        keys = [self.labels(member, *judge).key for judge in self.judges]
        return self.study.stage("label_agreement", f"agreement-{member.slug}", settings={}, inputs=keys)

    def stages_of(self, member: Labelled) -> Sequence[Stage]:
        """All of one SAE, in order."""
        agreement = self.agreement(member)
        labels = [self.labels(member, *judge) for judge in self.judges]
        return [member.evidence, *labels, *([] if agreement is None else [agreement])]

    def _member(self, key: str, layer: int, source: str, row: SAERow | None, chosen: Chosen) -> Labelled:
        own = self.settings.windows.model_dump() | {"seed": self.settings.seed, "features": chosen.key}
        if row is None:
            own["layer"] = layer
        inputs = [self.study.collection if row is None else key, *([] if self.strata is None else [self.strata])]
        slug = key if row is None else key[:-9]
        evidence = self.study.stage("label_evidence", f"evidence-{slug}", settings=own, inputs=inputs)
        return Labelled(key, layer, source, row, chosen, evidence)


def judge_name(judge: str, chat: ChatSettings) -> str:
    """A judge's name in the tables: its kind, or the name of the language model."""
    return chat.model if judge == "chat" else judge


def slug_of(name: str) -> str:
    """A name as a part of a key and of file names."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)[:40].strip("-.").lower()
