"""The stages of labelling: the evidence of each SAE, keyed by its features and windows; then who labels it, and how."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ato.errors import LayerError
from ato.models import identify
from tasks.engine.model_cache import language_model
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.label.chosen import Chosen, choose_features, chosen_before, draw_features, listed_features, named_features
from tasks.settings import LabelSettings
from tasks.settings.label import ChatSettings
from warehouse.catalog.lookups import SAERow, StudiedRow, sae_rows, studied_rows, trusted_explanations

if TYPE_CHECKING:
    from ato.autointerp.label_spaces import LabelSpace
    from ato.autointerp.labelling import ImportedDescription

SITE_OF_NEURONS, SITE_OF_ADAPTERS = "mlp_neurons", "mlp_in"
NEURONS, ADAPTER = "neurons", "adapter"
"""In place of an SAE: the MLP neurons of its layer, or a layer of a transcoder adapter."""


@dataclass(frozen=True)
class AskedJudge:
    """Who is asked."""

    kind: str
    """overlap, embedding or chat."""
    chat: ChatSettings
    """How a language model is reached."""

    @property
    def name(self) -> str:
        """As it stands in the tables: its kind, or the name of the language model."""
        return self.chat.model if self.kind == "chat" else self.kind

    @property
    def settings(self) -> dict[str, Any]:
        """What of it changes answers: not how the server is reached, but how far the budget goes.

        With a larger budget the labelling is another, which asks nothing twice.
        """
        if self.kind != "chat":
            return {"judge": self.kind}
        reached = {"base_url", "key_variable", "concurrency", "timeout", "max_attempts"}
        return {"judge": self.kind, "chat": self.chat.model_dump(exclude=reached)}


@dataclass(frozen=True)
class Labelled:
    """An SAE, a layer of an adapter, or the MLP neurons of a layer, whose features are labelled."""

    key: str
    """Of the SAE in all tables."""
    layer: int
    source: str
    """sae, transcoder, adapter or neurons."""
    site: str
    """That it reads."""
    row: SAERow | StudiedRow | None
    """None of neurons and adapters."""
    chosen: Chosen
    evidence: Stage
    adapter: str | None = None
    """Folder of the adapter's checkpoint; None of what is none."""

    @property
    def slug(self) -> str:
        """Readable part of keys."""
        return self.key if self.source == NEURONS else self.key[:-9]


@dataclass(frozen=True)
class LabelStudy:
    """What all stages of one labelling share."""

    study: Study
    sae_keys: tuple[str, ...]
    settings: LabelSettings
    strata: str | None
    """Key of what the corpus says about its documents; None where it says nothing."""

    @cached_property
    def label_space(self) -> "LabelSpace | None":
        """Classes that features are put into; None without any.

        Raises:
            SettingsError: there is no such label space, or it is not well-formed.
        """
        from ato.autointerp.label_spaces import label_space

        return None if self.settings.label_space is None else label_space(self.settings.label_space)

    @cached_property
    def members(self) -> list[Labelled]:
        """The SAEs, by layer, each followed by the neurons of its layer if these are labelled too, those of studies, an adapter."""
        wanted, layers = self.settings.layers, set[int]()
        listed = self._listed
        found = []
        for row in sae_rows(self.study.warehouse, self.sae_keys):
            if (wanted is not None and row.layer not in wanted) or (listed is not None and row.sae not in listed):
                continue
            found.append(self._member(row))
            if self.settings.n_neurons and row.layer not in layers:
                found.append(self._neurons(row))
            layers.add(row.layer)
        keys = self.settings.studied if listed is None else [sae for sae in listed if sae not in self.sae_keys]
        studied = studied_rows(self.study.warehouse, self.study.collection, keys)
        return found + [self._member(row) for row in studied] + self._adapter()

    @property
    def _listed(self) -> dict[str, list[int]] | None:
        """Key of an SAE -> its features on the list of the settings; None without one."""
        if self.settings.list is None:
            return None
        return listed_features(self.study.warehouse, self.study.collection, self.settings.list)

    @property
    def judges(self) -> list[AskedJudge]:
        """One, or two that are compared."""
        s = self.settings
        first = [AskedJudge(s.judge, s.chat)]
        return first if s.second_judge is None else [*first, AskedJudge(s.second_judge, s.second_chat)]

    @cached_property
    def published(self) -> dict[str, dict[int, list["ImportedDescription"]]]:
        """Key of an SAE -> feature -> published descriptions that are believed, those that the settings let compete."""
        from ato.autointerp.labelling import ImportedDescription

        found: dict[str, dict[int, list[ImportedDescription]]] = {}
        for member in self.members if self.settings.n_published else ():
            ids = [int(feature) for feature in member.chosen.feature_id]
            known = trusted_explanations(self.study.warehouse, self.study.collection, member.key, ids)
            for feature in sorted(known):
                texts: dict[str, str] = {}  # each once, with where it is from
                for row in known[feature]:
                    text = " ".join(row["description"].split())
                    texts.setdefault(text, f"{row['source']} {row['explanation_id']}")
                own = [ImportedDescription(text, origin) for text, origin in texts.items() if text]
                found.setdefault(member.key, {})[feature] = own[: self.settings.n_published]
        return found

    def labels(self, member: Labelled, judge: AskedJudge) -> Stage:
        """The stage of one SAE and judge."""
        own = self.settings.model_dump(include={"n_candidates", "scorers", "n_trials", "shuffled", "seed"})
        if of_member := self.published.get(member.key):
            own["published"] = [[f, *(asdict(one) for one in of)] for f, of in of_member.items()]
        own |= judge.settings | {"space": None if self.label_space is None else space_record(self.label_space)}
        slug = f"labels-{judge.name[:40]}-{member.slug}"
        return self.study.stage("label", slug, settings=own, inputs=[member.evidence.key], version=2)

    def agreement(self, member: Labelled) -> Stage | None:
        """The stage that compares two judges of one SAE; None with one judge or without a label space."""
        if len(self.judges) < 2 or self.label_space is None:
            return None
        keys = [self.labels(member, judge).key for judge in self.judges]
        return self.study.stage("label_agreement", f"agreement-{member.slug}", settings={}, inputs=keys)

    def stages_of(self, member: Labelled) -> Sequence[Stage]:
        """All of one SAE, in order."""
        agreement = self.agreement(member)
        labels = [self.labels(member, judge) for judge in self.judges]
        return [member.evidence, *labels, *([] if agreement is None else [agreement])]

    def _member(self, row: SAERow | StudiedRow) -> Labelled:
        chosen = choose_features(self.study.warehouse, self.study.collection, row, self.settings)
        evidence = self._evidence(row.sae[:-9], {"features": chosen.key}, row.sae)
        if isinstance(row, StudiedRow):
            source = "sae" if row.target_site is None else "transcoder"
            return Labelled(row.sae, row.layer, source, row.site, row, chosen, evidence)
        return Labelled(row.sae, row.layer, "sae", self.study.row.site, row, chosen, evidence)

    def _adapter(self) -> list[Labelled]:
        """The layers of the adapter that is labelled; nobody knows yet which of its features ever fire."""
        s, found = self.settings, []
        if s.adapter is None:
            return []
        from ato.saes.adapter_files import adapter_shape

        folder = str(Path(s.adapter).expanduser().resolve())
        shape, of_model = adapter_shape(folder), identify(folder).weights_hash
        for layer in s.adapter_layers if s.adapter_layers is not None else shape.active_layers:
            key = f"{ADAPTER}-L{layer:02d}-{of_model[:8]}"
            if layer not in shape.active_layers:
                cure = f"use layers of {list(shape.active_layers)}"
                raise LayerError(f"layer {layer} has no adapter at work", where=folder, cure=cure)
            n, named = shape.n_features, s.features.get(layer)
            chosen = named_features(named, n, key) if named else draw_features(n, s.n_features, s.seed)
            own = {"features": chosen.key, "adapter": of_model, "layer": layer}
            evidence = self._evidence(key[:-9], own, self.study.collection)
            found.append(Labelled(key, layer, ADAPTER, SITE_OF_ADAPTERS, None, chosen, evidence, folder))
        return found

    def _neurons(self, beside: SAERow) -> Labelled:
        """The neurons beside an SAE, as rare as its features; drawn when their number is known: first by the model."""
        layer, n = beside.layer, self.settings.n_neurons
        key = f"{NEURONS}-L{layer:02d}"
        evidence = self._evidence(key, {"n_neurons": n}, beside.sae)
        if evidence.complete:
            chosen = chosen_before(self.study.warehouse, self.study.collection, evidence.key)
        else:
            chosen = draw_features(
                language_model(self.study.model).width(SITE_OF_NEURONS, [layer]), n, self.settings.seed
            )
        return Labelled(key, layer, NEURONS, SITE_OF_NEURONS, None, chosen, evidence)

    def _evidence(self, slug: str, features: dict[str, Any], read: str) -> Stage:
        own = self.settings.windows.model_dump() | {"seed": self.settings.seed} | features
        inputs = [read, *([] if self.strata is None else [self.strata])]
        return self.study.stage("label_evidence", f"evidence-{slug}", settings=own, inputs=inputs, version=2)


def space_record(space: "LabelSpace") -> dict[str, Any]:
    """All that a label space says, for a key."""
    properties = [asdict(of) for of in space.properties]
    for of in properties:
        of["values"] = [value | {"words": sorted(value["words"])} for value in of["values"]]
    return {"name": space.name, "properties": properties}
