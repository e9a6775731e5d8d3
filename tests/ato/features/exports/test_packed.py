"""Packed features: what a viewer fetches by the index is the JSON that was packed, and damage is told."""

import gzip
import json
import re
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ato.errors import DamagedFileError, InputError
from ato.features.exports.cantor import cantor_id
from ato.features.exports.expanded import feature_json, write_expanded
from ato.features.exports.packed import PackedFeatures, inflate, pack
from ato.features.exports.strict_json import json_bytes
from tests.ato.features.exports.pages import page, page_lists


def fetched_by_a_viewer(folder: Path, number: int) -> dict[str, Any]:
    """A feature as circuit-tracer's page fetches it: unpair, one range with an inclusive end, inflate by the length."""
    diagonal = int(((8 * number + 1) ** 0.5 - 1) / 2)
    feature = number - diagonal * (diagonal + 1) // 2
    index = json.loads(zlib.decompress((folder / "index.json.gz").read_bytes(), 16 + zlib.MAX_WBITS))
    assert (index["version"], index["format"]) == ("1.0", "variable_chunks")
    entry = index[str(diagonal - feature)]
    first, last = entry["offsets"][feature], entry["offsets"][feature + 1]
    fetched = (folder / entry["filename"]).read_bytes()[first : last + 1]
    length = int.from_bytes(fetched[:4], "little")
    return json.loads(gzip.decompress(fetched[4 : 4 + length]).decode("utf-8"))


def contents(*places: tuple[int, int]) -> list[dict[str, Any]]:
    return [feature_json(page(feature, layer, f"sae-{layer}")) for layer, feature in places]


def test_a_viewer_finds_every_feature_by_its_number(tmp_path):
    features = contents((0, 0), (0, 3), (2, 5))
    assert pack(features, tmp_path) == tmp_path / "index.json.gz"
    for content in features:
        assert fetched_by_a_viewer(tmp_path, cantor_id(content["layer"], content["feature"])) == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json.gz", "layer_0.bin", "layer_2.bin"]


def test_features_that_are_not_given_have_no_bytes_without_widths(tmp_path):
    pack(contents((0, 1), (0, 3)), tmp_path)
    packed = PackedFeatures(tmp_path)
    assert packed.widths == {0: 4}
    assert [packed.read(0, i) is None for i in range(4)] == [True, False, True, False]


def test_with_widths_a_viewer_finds_something_for_every_feature_of_every_layer(tmp_path):
    pack(contents((1, 2)), tmp_path, {0: 2, 1: 4, 3: 1})
    assert PackedFeatures(tmp_path).widths == {0: 2, 1: 4, 3: 1}
    for layer, width in ((0, 2), (1, 4), (3, 1)):
        for feature in range(width):
            found = fetched_by_a_viewer(tmp_path, cantor_id(layer, feature))
            assert (found["layer"], found["feature"]) == (layer, feature)
            assert [group["quantile_name"] for group in found["examples_quantiles"]][:2] == [
                "Top activations",
                "Random samples",
            ]
            assert found["activation_frequency"] == (0.05 if (layer, feature) == (1, 2) else None)


@settings(max_examples=60, deadline=None)
@given(pages=page_lists(), wide=st.booleans())
def test_packing_then_inflating_gives_the_files_of_the_expanded_layout(pages, wide, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    shown = [one for one in pages if one.active is None or one.active.total]
    write_expanded(pages, folder)
    pack(map(feature_json, shown), folder, {layer: 13 for layer in range(4)} if wide else None)
    packed = PackedFeatures(folder)
    for one in shown:
        file = folder / "features" / f"{cantor_id(one.layer, one.feature_id)}.json"
        assert packed.read(one.layer, one.feature_id) == json.loads(file.read_bytes())
        assert fetched_by_a_viewer(folder, int(file.stem)) == json.loads(file.read_bytes())
    assert len(list(packed)) == (52 if wide else len(shown))


def test_the_same_features_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        pack(contents((0, 0), (1, 7)), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_second_pack_leaves_no_layer_of_the_first(tmp_path):
    pack(contents((0, 0), (1, 7)), tmp_path)
    pack(contents((1, 2)), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json.gz", "layer_1.bin"]


def test_nothing_packs_to_an_index_without_layers(tmp_path):
    pack([], tmp_path)
    assert PackedFeatures(tmp_path).widths == {}
    assert list(PackedFeatures(tmp_path)) == []


def test_one_feature_is_held_at_a_time(tmp_path):
    def large():
        for feature in range(60):
            yield {"layer": 0, "feature": feature, "tokens": [f"{feature}-{i}" for i in range(10_000)]}

    tracemalloc.start()
    pack(large(), tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(json_bytes(next(large())))  # of all sixty it would be a hundred times that
    assert PackedFeatures(tmp_path).widths == {0: 60}


@pytest.mark.parametrize(
    ("places", "widths"),
    [([(0, 2), (0, 2)], None), ([(0, 2), (0, 1)], None), ([(1, 0), (0, 0)], None), ([(0, 5)], {0: 5})],
)
def test_features_in_another_order_or_beyond_the_width_are_refused_and_leave_no_index(tmp_path, places, widths):
    pack(contents((0, 0)), tmp_path)  # an earlier pack is not mistaken for this one
    with pytest.raises(InputError):
        pack(contents(*places), tmp_path, widths)
    assert not (tmp_path / "index.json.gz").exists()
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*"))
    with pytest.raises(InputError, match="no index"):
        PackedFeatures(tmp_path)


def test_an_unknown_feature_is_refused_with_those_that_are_there(tmp_path):
    pack(contents((0, 1)), tmp_path)
    for place in ((0, 2), (0, -1), (5, 0)):
        with pytest.raises(InputError, match="2 at layer 0"):
            PackedFeatures(tmp_path).read(*place)


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b + b"x", lambda b: b""])
def test_a_file_of_another_length_is_told_when_the_pack_is_opened(tmp_path, damage):
    pack(contents((0, 1)), tmp_path)
    path = tmp_path / "layer_0.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError, match="does not fit the file of layer 0"):
        PackedFeatures(tmp_path)


def test_an_altered_entry_is_told_when_it_is_read(tmp_path):
    pack(contents((0, 0), (0, 1)), tmp_path)
    path = tmp_path / "layer_0.bin"
    changed = bytearray(path.read_bytes())
    changed[40] ^= 255
    path.write_bytes(changed)
    packed = PackedFeatures(tmp_path)
    with pytest.raises(DamagedFileError, match="feature 0"):
        packed.read(0, 0)
    assert packed.read(0, 1) == contents((0, 1))[0]


@pytest.mark.parametrize(
    "index",
    [
        b"no gzip",
        gzip.compress(b"no json", mtime=0),
        gzip.compress(b"[]", mtime=0),
        gzip.compress(b'{"format": "other"}', mtime=0),
        gzip.compress(b'{"format": "variable_chunks", "one": {}}', mtime=0),
        gzip.compress(b'{"format": "variable_chunks", "0": {"filename": "../secret", "offsets": [0, 5]}}', mtime=0),
        gzip.compress(b'{"format": "variable_chunks", "0": {"filename": "layer_0.bin", "offsets": []}}', mtime=0),
        gzip.compress(
            b'{"format": "variable_chunks", "0": {"filename": "layer_0.bin", "offsets": [0, 9, 5]}}', mtime=0
        ),
        gzip.compress(b'{"format": "variable_chunks", "0": [1]}', mtime=0),
    ],
)
def test_an_index_that_cannot_be_right_is_told(tmp_path, index):
    folder = tmp_path / "packed"
    folder.mkdir()
    for name in ("secret", "packed/layer_0.bin"):
        (tmp_path / name).write_bytes(b"12345")
    (folder / "index.json.gz").write_bytes(index)
    with pytest.raises(DamagedFileError, match="index"):
        PackedFeatures(folder)


def test_an_entry_may_be_gzip_or_zlib_with_bytes_behind_it():
    text = json.dumps({"tokens": ["日", "😀"]}).encode()
    for packed in (gzip.compress(text), zlib.compress(text)):
        assert inflate(struct.pack("<I", len(packed)) + packed + b"next") == json.loads(text)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\x01\x00",
        b"\x05\x00\x00\x00ab",
        b"\x02\x00\x00\x00ab",
        struct.pack("<I", 25) + gzip.compress(b"[1,2]", mtime=0),
    ],
)
def test_bytes_that_are_no_entry_are_refused(entry):
    with pytest.raises(ValueError, match=r"length|bytes|header|object"):
        inflate(entry)


def test_an_entry_that_would_inflate_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("ato.features.exports.packed.LARGEST_FEATURE", 1_000)
    packed = gzip.compress(b'{"a": "' + b" " * 10_000 + b'"}')
    with pytest.raises(ValueError, match=re.escape("no end within 1,000 bytes")):
        inflate(struct.pack("<I", len(packed)) + packed)
