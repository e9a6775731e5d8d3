"""Values are made once for as long as what they were derived from stays as it is."""

import gc
import weakref
from itertools import count
from threading import Barrier, Thread

from ato.numerics.memo import Memo


class Owner:
    version = 0


def test_a_value_is_made_once_for_each_owner_and_key_until_the_owner_changes():
    memo, number = Memo[str, int](capacity=4), count()
    one, other = Owner(), Owner()

    def get(owner: Owner, key: str) -> int:
        return memo.get(owner, key, lambda: next(number))

    assert [get(one, "a"), get(one, "a"), get(one, "b"), get(other, "a"), get(one, "a")] == [0, 0, 1, 2, 0]
    one.version += 1
    assert [get(one, "a"), get(one, "b"), get(other, "a")] == [3, 4, 2]


def test_two_memos_share_nothing():
    owner = Owner()
    first, second = Memo[str, str](2), Memo[str, str](2)
    assert (first.get(owner, "a", lambda: "x"), second.get(owner, "a", lambda: "y")) == ("x", "y")


def test_the_oldest_value_goes_first():
    memo, number, owner = Memo[int, int](capacity=2), count(), Owner()
    for key in (0, 1, 0, 2):  # asking for 0 again does not make it younger
        memo.get(owner, key, lambda: next(number))
    assert [memo.get(owner, key, lambda: -1) for key in (1, 2, 0)] == [1, 2, -1]


def test_values_go_with_their_owner():
    class Value:
        pass

    memo, owner = Memo[str, Value](capacity=1), Owner()
    kept = weakref.ref(memo.get(owner, "a", Value))
    assert kept() is not None
    del owner
    gc.collect()
    assert kept() is None


def test_threads_that_make_a_value_at_once_all_get_a_right_one():
    memo, owner, together, found = Memo[int, int](capacity=1), Owner(), Barrier(4), []

    def ask(key: int) -> None:
        together.wait()
        found.extend((key, memo.get(owner, key, lambda: 10 * key)) for _ in range(200))

    threads = [Thread(target=ask, args=(key,)) for key in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 800
    assert all(value == 10 * key for key, value in found)
