"""Tasks on all cores: results in order, errors pass through, BLAS gets its threads back."""

from threading import Barrier

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from ato.numerics.parallel import one_blas_thread, run_tasks


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(params=[1, 2, 4])
def cores(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return request.param


def test_results_come_in_the_order_of_the_tasks(cores):
    matrices = [np.full((3, 3), float(i)) for i in range(7)]
    results = run_tasks([lambda matrix=matrix: matrix @ matrix for matrix in matrices])
    assert [result[0, 0] for result in results] == [3.0 * i**2 for i in range(7)]
    assert run_tasks([]) == []


def test_an_error_of_a_task_reaches_the_caller_and_lifts_the_limit(cores):
    before = blas_threads()
    with pytest.raises(ZeroDivisionError):
        run_tasks([lambda: 1 // 0, lambda: 1])
    assert blas_threads() == before


def test_overlapping_limits_end_with_the_last(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    before = blas_threads()
    meeting = Barrier(2)

    def limited() -> list[int]:
        with one_blas_thread(), one_blas_thread():
            meeting.wait(timeout=10)
            return blas_threads()

    assert all(set(threads) == {1} for threads in run_tasks([limited, limited]))
    assert blas_threads() == before
