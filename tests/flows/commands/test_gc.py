"""``ato gc``: lists what would go, removes it on request, and says what is wrong with a request."""

from datetime import timedelta

import pytest

from ato.errors import InputError
from flows.commands.gc import age, collect_garbage
from tests.warehouse.small_warehouse import COLLECTION
from warehouse.storage.manifests import manifests


def test_a_collection_is_listed_then_removed_on_request(sound, capsys, monkeypatch):
    monkeypatch.setattr("flows.commands.gc.orphaned_servers", lambda: iter(()))  # those of this machine stay out of it
    monkeypatch.setattr("flows.commands.gc.end_orphaned_servers", lambda: None)
    collect_garbage()
    assert "nothing to remove" in capsys.readouterr().out
    before = set(sound.storage.entries())
    collect_garbage([COLLECTION])
    out = capsys.readouterr().out
    assert "bytes would be freed" in out
    assert "--yes" in out
    assert set(sound.storage.entries()) == before
    collect_garbage([COLLECTION], yes=True)
    assert "bytes freed" in capsys.readouterr().out
    assert list(manifests(sound)) == []


def test_a_wrong_request_is_named(sound):
    with pytest.raises(InputError, match=f"no collection 'x': choose from {COLLECTION}"):
        collect_garbage(["x"])
    with pytest.raises(InputError, match=r"'30' is not an age .*12h, 30d, 2w"):
        collect_garbage(older_than="30")


def test_ages_are_hours_days_or_weeks():
    assert (age("12h"), age("30d"), age("2w")) == (timedelta(hours=12), timedelta(days=30), timedelta(days=14))
    with pytest.raises(InputError, match="is not an age"):
        age("9" * 30 + "d")  # no calendar reaches back so far
