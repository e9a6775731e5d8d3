"""Values that were made once are kept, a few at a time."""

from ato.numerics.memo import CAPACITY, Derived


def test_a_value_is_made_once_until_everything_is_forgotten():
    kept, made = Derived(), []
    for _ in range(3):
        assert kept.get("a", lambda: made.append(1) or "value") == "value"
    assert len(made) == 1
    kept.clear()
    kept.get("a", lambda: made.append(1))
    assert len(made) == 2


def test_a_value_of_none_is_kept_too():
    kept = Derived()
    assert kept.get("a", lambda: None) is None
    assert kept.get("a", lambda: 1) is None


def test_the_oldest_value_goes_when_there_are_too_many():
    kept = Derived()
    for key in range(CAPACITY + 1):
        kept.get(key, lambda key=key: key)
    assert kept.get(CAPACITY, lambda: "again") == CAPACITY
    assert kept.get(0, lambda: "again") == "again"
