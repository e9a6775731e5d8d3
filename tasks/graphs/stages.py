"""The stages of graphs: one a prompt, keyed by its text, what it reads and how it is made; then what recurs over all."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ato.errors import InputError
from ato.graphs.prompts import PromptMaker, read_prompts
from ato.models.files import locate
from ato.models.shapes import model_shape
from ato.models.tokenizer import load_tokenizer
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.settings import GraphSettings
from tasks.settings.graphs import PromptSettings
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import sae_rows

_TRANSCODERS = """select sae, layer, path, d_sae from studied_saes
where collection = ? and list_contains(?, sae) and site = 'mlp_in' and target_site = 'mlp_out' order by layer, sae"""
_OPERATORS = """select operator, path, source_layer, target_layer from operators
where collection = ? and position_policy = 'same' and method = 'ridge' order by source_layer, target_layer, operator"""
_FOR_ALL = {
    *("target_probability", "max_targets", "kinds", "precision", "node_threshold", "edge_threshold"),
    *("adapter", "supernode_cosine"),
}
_FOR_ATTRIBUTION = {
    *("max_features", "repeat", "n_ablations", "seed"),
    *("n_traced_edges", "n_traced_scores", "n_pairs"),
}
_SLUG_LENGTH = 40
_NO_LIMIT = 2**31


@dataclass(frozen=True)
class Prompt:
    """A prompt of the settings or of a file, as tokens."""

    text: str
    token_ids: tuple[int, ...]
    """BOS included."""
    target_ids: tuple[int, ...] = ()
    """Tokens whose logits are explained; none: the likely ones."""
    against_id: int | None = None
    """The token whose logit is subtracted from that of the only target."""
    file: str | None = None
    """Name of the file, or of the line in it, that it was read from."""

    @property
    def slug(self) -> str:
        """Readable part of its key."""
        words = re.sub(r"[^a-z0-9]+", "-", self.text.lower()).strip("-")
        return words[:_SLUG_LENGTH].rstrip("-") or "prompt"

    @property
    def name(self) -> str:
        """As it stands in the tables: that of its file, or its text."""
        return self.text if self.file is None else self.file

    @property
    def settings(self) -> dict[str, Any]:
        """What of it changes the graph."""
        ids = {"token_ids": list(self.token_ids), "target_ids": list(self.target_ids)}
        return {"text": self.text, "against_id": self.against_id} | ids


@dataclass(frozen=True)
class ReadDictionary:
    """An SAE, a transcoder or a layer of an adapter that a graph is made of."""

    key: str
    layer: int
    path: str
    d_sae: int
    kind: Literal["sae", "transcoder", "adapter"]


@dataclass(frozen=True)
class ReadOperator:
    """An operator between two layers that have SAEs."""

    key: str
    path: str
    source_layer: int
    target_layer: int


@dataclass(frozen=True)
class GraphStudy:
    """What all graphs of one run share."""

    study: Study
    sae_keys: tuple[str, ...]
    settings: GraphSettings

    @cached_property
    def dictionaries(self) -> list[ReadDictionary]:
        """By layer, one each: the model's adapter or transcoders where the settings name them, else SAEs.

        Raises:
            InputError: none is left, a key that no study has, two of one layer, or a set of transcoders with a gap.
            SAEError: the model is no checkpoint of an adapter.
        """
        layers = self.settings.layers
        made_of = self._adapter() if self.settings.adapter else self._transcoders() or self._saes()
        chosen = [one for one in made_of if layers is None or one.layer in layers]
        found = [one.layer for one in chosen]
        if not chosen:
            cure = f"use layers of {sorted(one.layer for one in made_of)}" if made_of else "run `ato run saes` first"
            raise InputError("a graph needs an SAE or a transcoder", where="graphs.layers", cure=cure)
        if twice := sorted({layer for layer in found if found.count(layer) > 1}):
            raise InputError(f"layer {twice[0]} has two dictionaries", where="graphs", cure="name one per layer")
        if gap := sorted(self._expected(found) - set(found)):
            missing = f"layer{'s' * (len(gap) > 1)} {', '.join(map(str, gap))}"
            cure = f"train them, or set graphs.layers={found} for a graph in which the MLPs between are linear"
            raise InputError(f"the transcoders leave out {missing}", where="graphs.transcoders", cure=cure)
        return chosen

    @property
    def missing_layers(self) -> list[int]:
        """Layers that the settings name and that no SAE reads: the graph leaps over them."""
        return sorted(set(self.settings.layers or []) - {one.layer for one in self.dictionaries})

    def _expected(self, found: Collection[int]) -> set[int]:
        """Layers that must have a transcoder: those that are named, else all between the first and the last."""
        if not self.settings.transcoders:
            return set()
        named = self.settings.layers
        return set(range(min(found), max(found) + 1)) if named is None else set(named)

    def _saes(self) -> list[ReadDictionary]:
        return [
            ReadDictionary(row.sae, row.layer, row.path, row.d_sae, "sae")
            for row in sae_rows(self.study.warehouse, self.sae_keys)
        ]

    def _transcoders(self) -> list[ReadDictionary]:
        wanted = self.settings.transcoders
        found = rows(self.study.warehouse, _TRANSCODERS, [self.study.collection, wanted]) if wanted else []
        if missing := sorted(set(wanted) - {row["sae"] for row in found}):
            raise InputError(
                f"no study of the collection has a transcoder {missing[0]!r} from mlp_in to mlp_out",
                where="graphs.transcoders",
                cure='list them with `ato sql "select sae, label, layer from studied_saes where target_site is not null"`',
            )
        return [ReadDictionary(row["sae"], row["layer"], row["path"], row["d_sae"], "transcoder") for row in found]

    def _adapter(self) -> list[ReadDictionary]:
        """Of the checkpoint that the model is read from; its weight files are in the collection's key."""
        from ato.saes.adapter_files import load_adapter

        model = self.study.model
        folder = locate(model.name, model.revision).folder
        adapter = load_adapter(folder)
        layers = sorted(set(adapter.layers) - adapter.disabled)
        return [ReadDictionary(f"adapter-l{n:02d}", n, str(folder), adapter.n_features, "adapter") for n in layers]

    @cached_property
    def operators(self) -> list[ReadOperator]:
        """For each layer with an SAE the ridge operator into it from the nearest earlier one that has both; none for transcoders."""
        if "transport" not in self.settings.kinds or self.dictionaries[0].kind != "sae":
            return []
        layers = {one.layer for one in self.dictionaries}
        into: dict[int, ReadOperator] = {}
        for row in rows(self.study.warehouse, _OPERATORS, [self.study.collection]):
            one = ReadOperator(row["operator"], row["path"], row["source_layer"], row["target_layer"])
            if {one.source_layer, one.target_layer} <= layers:
                into[one.target_layer] = one  # sources ascend: the last is the nearest
        return [into[layer] for layer in sorted(into)]

    @property
    def kinds(self) -> list[str]:
        """Graphs that are made of each prompt: without operators none of transport."""
        return [kind for kind in self.settings.kinds if kind != "transport" or self.operators]

    @cached_property
    def prompts(self) -> list[Prompt]:
        """Of the settings, then of the file or folder, each once.

        Raises:
            InputError: no prompt, one that is too short or long, a target that is not one token, or nothing to read.
            CorpusError: a file that is not UTF-8, or a line that is no prompt.
        """
        s, maker = self.settings, self._maker
        found = [_prompt(one, maker) for one in s.prompts]
        if s.prompts_from is not None:
            for one in read_prompts(Path(s.prompts_from).expanduser(), maker):
                found.append(Prompt(one.text, one.token_ids, (one.target_id,), file=one.name))
        if not found:
            raise InputError("there is no prompt", where="graphs.prompts", cure="give one")
        return list({repr(one.settings): one for one in found}.values())

    @cached_property
    def _maker(self) -> PromptMaker:
        model = self.study.model
        tokenizer = load_tokenizer(model.name, revision=model.revision, trust_remote_code=model.trust_remote_code)
        shape = model_shape(model.name)
        return PromptMaker(tokenizer, shape.context or _NO_LIMIT, self.study.row.made_with["prepend_bos"])

    def stage(self, prompt: Prompt) -> Stage:
        """The stage of one prompt."""
        names = _FOR_ALL | (_FOR_ATTRIBUTION if "attribution" in self.settings.kinds else set())
        own = self.settings.model_dump(include=names) | prompt.settings
        inputs = [self.study.collection, *(one.key for one in self.dictionaries), *(one.key for one in self.operators)]
        return self.study.stage("graphs", f"graph-{prompt.slug}", settings=own, inputs=inputs, version=2)

    @property
    def motifs(self) -> Stage:
        """The stage that counts edges over all prompts of the run."""
        keys = [self.stage(prompt).key for prompt in self.prompts]
        return self.study.stage("graph_motifs", f"motifs-{len(keys)}-prompts", settings={}, inputs=sorted(keys))


def _prompt(wanted: PromptSettings, maker: PromptMaker) -> Prompt:
    """A prompt of the settings, whose whole text is shown to the model."""
    if wanted.against is not None and len(wanted.targets) != 1:
        what = f"{len(wanted.targets)} targets are against {wanted.against!r}"
        raise InputError(what, where=repr(wanted.text), cure="name one target")
    targets = tuple(maker.target(target) for target in wanted.targets)
    against = None if wanted.against is None else maker.target(wanted.against)
    return Prompt(wanted.text, maker.whole(wanted.text, repr(wanted.text)), targets, against)
