"""``ato up`` refuses to run beside another server."""

import pytest

from ato.errors import InputError
from flows.local.up import up


def test_a_server_of_another_address_is_not_taken_over(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(InputError, match="unset it"):
        up()
