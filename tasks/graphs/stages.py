"""The stages of graphs: one a prompt, keyed by its text, what it reads and how it is made; then what recurs over all."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ato.errors import InputError
from ato.graphs.prompts import PromptMaker, read_prompts
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
    "supernode_cosine",
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
    """An SAE or a transcoder that a graph is made of."""

    key: str
    layer: int
    path: str
    d_sae: int
    is_transcoder: bool


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
        """By layer, one each: transcoders where the settings name some, else SAEs.

        Raises:
            InputError: none is left, a key that no study has, or two of one layer.
        """
        s, warehouse = self.settings, self.study.warehouse
        if s.transcoders:
            found = rows(warehouse, _TRANSCODERS, [self.study.collection, s.transcoders])
            if missing := sorted(set(s.transcoders) - {row["sae"] for row in found}):
                raise InputError(
                    f"no study of the collection has a transcoder {missing[0]!r} from mlp_in to mlp_out",
                    where="graphs.transcoders",
                    cure='list them with `ato sql "select sae, label, layer from studied_saes where target_site is not null"`',
                )
            made_of = [ReadDictionary(row["sae"], row["layer"], row["path"], row["d_sae"], True) for row in found]
        else:
            made_of = [
                ReadDictionary(row.sae, row.layer, row.path, row.d_sae, False)
                for row in sae_rows(warehouse, self.sae_keys)
            ]
        chosen = [one for one in made_of if s.layers is None or one.layer in s.layers]
        layers = [one.layer for one in chosen]
        if not chosen:
            cure = f"use layers of {sorted(one.layer for one in made_of)}" if made_of else "run `ato run saes` first"
            raise InputError("a graph needs an SAE or a transcoder", where="graphs.layers", cure=cure)
        if twice := sorted({layer for layer in layers if layers.count(layer) > 1}):
            raise InputError(f"layer {twice[0]} has two dictionaries", where="graphs", cure="name one per layer")
        return chosen

    @cached_property
    def operators(self) -> list[ReadOperator]:
        """For each layer with an SAE the ridge operator into it from the nearest earlier one that has both; none for transcoders."""
        if "transport" not in self.settings.kinds or self.settings.transcoders:
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
