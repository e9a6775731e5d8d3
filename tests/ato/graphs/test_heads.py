"""Parts of edges that pass heads: they sum to the edge, and each is what runs without gradients give."""

import numpy as np
import pytest
import torch

from ato.errors import InputError
from ato.graphs.attribution import attribute
from ato.graphs.faithfulness import target_direction
from ato.graphs.heads import head_contributions
from tests.ato.graphs.planted import random_model, random_sae, random_transcoder

IDS = [1, 40, 41, 90, 41, 17, 200, 33]
FAMILIES = ("gpt2", "llama", "qwen3", "gemma2", "gpt_neox")


@pytest.fixture(scope="module", params=[(family, kind) for family in FAMILIES for kind in ("sae", "transcoder")])
def made(request, tmp_path_factory):
    family, kind = request.param
    model = random_model(tmp_path_factory.mktemp("model"), family)
    last = model.n_layers - 1
    saes = {0: random_sae(0), last: random_sae(last)}
    transcoders = {layer: random_transcoder(layer) for layer in range(model.n_layers)}
    return attribute(model, IDS, saes if kind == "sae" else transcoders, max_features=100)


def sample(made, n=6):
    """Edges from features that are spread over strengths and positions, and the strongest into a logit."""
    graph = made.graph
    own = np.flatnonzero(graph.kind[graph.source] == "feature")
    apart = own[graph.position[graph.source[own]] < graph.position[graph.target[own]]]
    logits = own[graph.kind[graph.target[own]] == "logit"]
    strongest = logits[np.argmax(np.abs(graph.weight[logits]))]
    return [*own[:: len(own) // n].tolist(), *apart[:: len(apart) // n].tolist(), int(strongest)]


def test_parts_of_all_heads_and_the_direct_path_sum_to_the_edge(made):
    for found in head_contributions(made, sample(made)):
        weight = made.graph.weight[found.edge]
        assert found.by_key.sum() + found.direct == pytest.approx(weight, rel=1e-9, abs=1e-11)
        ends = made.graph.position[[made.graph.source[found.edge], made.graph.target[found.edge]]]
        if ends[0] != ends[1]:
            assert found.direct == pytest.approx(0, abs=1e-11), "between positions all passes attention"


def forward(made, edge, watch):
    """The target's value, but for an offset, where the source alone is written, with ``watch`` at the heads."""
    local, row = made.sources.local, int(made.selected[made.graph.source[edge]])
    leaves = [torch.zeros_like(leaf) for leaf in local.values.leaves]
    if watch.source:
        leaves[made.sources.cut[row]][0, made.sources.position[row]] = made.sources.written(row)
    reading, position, vector = target_direction(made, int(made.graph.target[edge]))
    with local.frozen.watched(watch), torch.no_grad():
        found = local.run(torch.zeros_like(local.values.stream), leaves)
    return float(found[reading][0, position] @ vector)


class Watch:
    """Notes the outputs of heads, and puts others in their place."""

    def __init__(self, source, outputs=None, only=None):
        self.source, self.noted, self._outputs, self._only = source, {}, outputs or {}, only

    def __call__(self, attended):
        output = attended.output.clone()
        for (layer, head), value in self._outputs.items():
            if layer == attended.layer:
                output[:, :, head] = value
        self.noted |= {(attended.layer, head): output[:, :, head] for head in range(output.shape[2])}
        return output


def test_each_part_is_what_forward_passes_with_other_heads_held_give(made):
    for found in head_contributions(made, sample(made, 2)):
        nothing, alone = Watch(False), Watch(True)
        zero, weight = forward(made, found.edge, nothing), forward(made, found.edge, alone)
        assert weight - zero == pytest.approx(made.graph.weight[found.edge], rel=1e-8, abs=1e-10)
        held = Watch(True, nothing.noted)
        assert forward(made, found.edge, held) - zero == pytest.approx(found.direct, rel=1e-8, abs=1e-10)
        for number, layer in enumerate(found.layers.tolist()):
            for head in range(found.through.shape[1]):
                # Its own change, with every other head as without the source.
                last = Watch(False, nothing.noted | {(layer, head): alone.noted[layer, head]})
                part = forward(made, found.edge, last) - zero
                assert part == pytest.approx(found.by_key[number, head].sum(), rel=1e-8, abs=1e-10)
                # All but its own change.
                others = forward(made, found.edge, Watch(True, {(layer, head): nothing.noted[layer, head]}))
                assert weight - others == pytest.approx(found.through[number, head], rel=1e-8, abs=1e-10)


def test_a_head_reads_the_source_at_no_position_before_it_or_behind_the_target(made):
    graph = made.graph
    for found in head_contributions(made, sample(made, 2)):
        first, last = graph.position[graph.source[found.edge]], graph.position[graph.target[found.edge]]
        outside = np.r_[0:first, last + 1 : len(IDS)]
        assert not found.by_key[:, :, outside].any()


def test_parts_of_heads_are_of_edges_from_features(made):
    edge = int(np.flatnonzero(made.graph.kind[made.graph.source] != "feature")[0])
    with pytest.raises(InputError, match="from features"):
        list(head_contributions(made, [edge]))
    assert list(head_contributions(made, [])) == []
