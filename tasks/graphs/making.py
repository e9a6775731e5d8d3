"""The graphs of one prompt: computed, checked, pruned."""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from ato.errors import InputError
from ato.graphs.attribution import Attribution, attribute
from ato.graphs.checks import check_conservation, conservation_residual, repeat_difference
from ato.graphs.faithfulness import Faithfulness, faithfulness
from ato.graphs.graph import Graph
from ato.graphs.local_model import Dictionary, in_precision
from ato.graphs.proposals import Proposal, propose
from ato.graphs.pruning import Pruned, prune
from ato.graphs.targets import LogitTargets, given_tokens, likely_tokens, token_difference
from ato.graphs.transport import Site, transport_graph
from ato.models.language_model import LanguageModel
from ato.operators import TransportOperator, load_operator
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.files import load_sae
from ato.saes.transcoder_files import load_transcoder_folder
from ato.text.token_texts import TokenTexts
from tasks.engine.model_cache import language_model
from tasks.graphs.attention import TracedAttention, trace_attention
from tasks.graphs.stages import GraphStudy, Prompt
from tasks.settings import ModelSettings

TRANSPORT_PRECISION = "float64"
"""Transport graphs are always computed in it."""


@dataclass(frozen=True)
class MadeGraph:
    """A whole graph, its checks and what is left of it."""

    kind: str
    """attribution or transport."""
    precision: str
    """That it was computed in."""
    graph: Graph
    pruned: Pruned
    residual: np.ndarray
    """[n] of conservation, of the whole graph; NaN of leaves."""
    largest_residual: float
    repeat_difference: float | None = None
    faithfulness: Faithfulness | None = None
    attribution: Attribution | None = None
    attention: TracedAttention = field(default_factory=TracedAttention)
    supernodes: Sequence[Proposal] = ()
    seconds: float = 0.0


class GraphMaker:
    """Model, SAEs and operators of a run, loaded once; ``make`` computes the graphs of a prompt.

    Args:
        of: the run.
    """

    def __init__(self, of: GraphStudy):
        self.of = of
        self.model = model_in(of.study.model, of.settings.precision)
        self.texts = TokenTexts(self.model.tokenizer)

    @cached_property
    def dictionaries(self) -> dict[int, Dictionary]:
        """Layer -> SAE or transcoder, in the model's precision."""
        path = self.of.study.warehouse.artifact_path
        found: dict[int, Dictionary] = {}
        for one in self.of.dictionaries:
            folder = path(*one.path.split("/")[1:])
            own = load_transcoder_folder(folder, one.layer) if one.is_transcoder else load_sae(folder)
            found[one.layer] = in_precision(own, self.model)
        return found

    @cached_property
    def operators(self) -> list[TransportOperator]:
        """By target layer."""
        path = self.of.study.warehouse.artifact_path
        return [load_operator(path(*one.path.split("/")[1:])) for one in self.of.operators]

    def make(self, prompt: Prompt) -> list[MadeGraph]:
        """The graphs of a prompt.

        Raises:
            InputError: a graph that needs too much memory, or a prompt of which the collection leaves out all.
            ModelError: attention whose scores cannot be traced.
            QualityError: the edges into a node do not sum to its value, or the parts of a score to it.
        """
        if len(self.left_out(prompt)) == len(prompt.token_ids):
            cure = "write a longer prompt, or collect with skip_first=false"
            raise InputError("the collection leaves out every token of the prompt", where=prompt.name, cure=cure)
        makers = {"attribution": self._attribution, "transport": self._transport}
        found = []
        for kind in self.of.kinds:
            began = time.perf_counter()
            made = makers[kind](prompt)
            found.append(replace(made, seconds=time.perf_counter() - began))
        return found

    def _attribution(self, prompt: Prompt) -> MadeGraph:
        s, choose = self.of.settings, partial(self._targets, prompt)
        options: dict[str, Any] = {"max_features": s.max_features, "without": self.left_out(prompt)}
        compute = partial(attribute, self.model, prompt.token_ids, self.dictionaries, choose, **options)
        found = compute(batch_size=s.batch_size)
        again = compute(batch_size=max(1, s.batch_size // 2)).graph if s.repeat else None
        difference = None if again is None else repeat_difference(found.graph, again)
        made = self._checked("attribution", found.graph, s.precision)
        sample = (
            faithfulness(found, s.n_ablations, s.seed, first_position=0)
            if s.n_ablations and _has_edges(found.graph)
            else None
        )
        attention = trace_attention(found, made.pruned, s)
        return replace(made, repeat_difference=difference, faithfulness=sample, attribution=found, attention=attention)

    def _transport(self, prompt: Prompt) -> MadeGraph:
        layers = sorted(self.dictionaries)
        found = self._residuals(prompt, layers)
        sites = {layer: Site(_sae(self.dictionaries[layer]), found[layer]) for layer in layers}
        kept = sorted(set(range(len(prompt.token_ids))) - self.left_out(prompt))
        return self._checked(
            "transport", transport_graph(sites, self.operators, prompt.token_ids, kept), TRANSPORT_PRECISION
        )

    def left_out(self, prompt: Prompt) -> set[int]:
        """Positions that the collection would leave out, which SAEs and operators were not made for.

        At the first position residuals are a hundred times as long as elsewhere in many models: with them a graph shows
        little else.
        """
        row, policy = self.of.study.row, self.of.study.exclusion_policy
        ids = np.array(prompt.token_ids, dtype=np.int64)
        kept, _ = policy.keep_tokens(ids, np.arange(len(ids)), self.model.special_token_ids)
        if row.median_norms:
            found = self._residuals(prompt, row.layers, row.site)
            norms = {layer: found[layer].norm(dim=1).double().cpu().numpy() for layer in row.layers}
            kept &= ~policy.norm_outliers(norms, row.median_norms)
        return set(np.flatnonzero(~kept).tolist())

    @torch.no_grad()
    def _residuals(self, prompt: Prompt, layers: Sequence[int], site: str = "resid_post") -> Mapping[int, torch.Tensor]:
        """Layer -> [t, d] what the model has at a site."""
        ids = torch.tensor([prompt.token_ids], device=self.model.device)
        found = self.model.forward(ids, None, read=list(layers), site=site).residuals
        return {layer: residual[0] for layer, residual in found.items()}

    def _checked(self, kind: str, graph: Graph, precision: str) -> MadeGraph:
        s = self.of.settings
        largest = check_conservation(graph, precision)
        pruned = prune(graph, s.node_threshold, s.edge_threshold)
        return MadeGraph(
            kind, precision, graph, pruned, conservation_residual(graph), largest, supernodes=self._groups(pruned.graph)
        )

    def _groups(self, graph: Graph) -> list[Proposal]:
        """Features of a pruned graph that may be shown as one."""
        least, own = self.of.settings.supernode_cosine, graph.kind == "feature"
        if least is None or not own.any():
            return []
        ends = zip(graph.layer[own].tolist(), graph.feature[own].tolist(), strict=True)
        decoders = torch.stack([self.dictionaries[layer].W_dec[feature] for layer, feature in ends])
        return propose(graph, decoders.double().cpu().numpy(), least)

    def _targets(self, prompt: Prompt, model: LanguageModel, hidden: torch.Tensor) -> LogitTargets:
        """The logits that a prompt's graph explains."""
        s = self.of.settings
        if not prompt.target_ids:
            return likely_tokens(model, hidden, s.max_targets, s.target_probability)
        if prompt.against_id is None:
            return given_tokens(model, hidden, prompt.target_ids)
        return token_difference(model, prompt.target_ids[0], prompt.against_id)


def model_in(settings: ModelSettings, precision: str) -> LanguageModel:
    """The model of the settings in a precision: loaded anew where it was loaded in a lower one."""
    model = language_model(settings)
    wanted = getattr(torch, precision)
    if model.dtype not in (torch.float32, torch.float64):
        model = language_model(settings.model_copy(update={"dtype": "float32"}))
    if model.dtype == wanted:
        return model
    return LanguageModel(model.identity, deepcopy(model.module).to(wanted), model.tokenizer)


def _has_edges(graph: Graph) -> bool:
    """Whether an edge comes from a feature, which can be ablated."""
    return bool((graph.kind[graph.source] == "feature").any())


def _sae(dictionary: Dictionary) -> SparseAutoencoder:
    assert isinstance(dictionary, SparseAutoencoder)
    return dictionary
