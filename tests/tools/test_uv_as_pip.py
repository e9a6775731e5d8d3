"""uv finds packages where pip is configured to find them, and the user's own variables of uv stay."""

import os
import subprocess
import sys

import pytest

from tools.uv_as_pip import pip_settings, uv_options, uv_variables


def test_a_later_section_wins_and_an_empty_value_does_not_count():
    listed = (
        "global.find-links='/machine'\nglobal.index-url='https://machine/simple'\ninstall.find-links='\\n/a\\n/b'\n"
    )
    listed += "download.index-url='https://other/simple'\n:env:.index-url=''\n:env:.no-index='1'\n"
    assert pip_settings(listed) == {
        "find-links": "\n/a\n/b",
        "index-url": "https://machine/simple",
        "no-index": "1",
    }


def test_what_pip_itself_lists_is_understood(tmp_path):
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex_url = https://a/simple\n[install]\nfind-links =\n    /a\n    /b's\nextra-index-url = https://c\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_EXTRA_INDEX_URL": "https://b"}
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    settings = pip_settings(listed)
    assert settings["index-url"] == "https://a/simple"
    assert settings["find-links"].split() == ["/a", "/b's"]
    assert settings["extra-index-url"] == "https://b"


@pytest.mark.parametrize(
    ("setting", "value", "variables"),
    [
        ("find-links", "\n/wheels\nhttps://host/wheels", {"UV_FIND_LINKS": "/wheels,https://host/wheels"}),
        ("find-links", "~/wheels", {"UV_FIND_LINKS": os.path.expanduser("~/wheels")}),
        ("index-url", "https://host/simple", {"UV_DEFAULT_INDEX": "https://host/simple"}),
        (
            "extra-index-url",
            "https://a\nhttps://b",
            {"UV_INDEX": "https://a https://b", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ("trusted-host", "a b:8080", {"UV_INSECURE_HOST": "a b:8080"}),
        ("cert", "/etc/ca.pem", {"SSL_CERT_FILE": "/etc/ca.pem"}),
        ("client-cert", "/etc/me.pem", {"SSL_CLIENT_CERT": "/etc/me.pem"}),
        ("proxy", "http://proxy:3128", {"ALL_PROXY": "http://proxy:3128"}),
        ("timeout", "7.5", {"UV_HTTP_TIMEOUT": "7"}),
        ("default-timeout", "180", {"UV_HTTP_TIMEOUT": "180"}),
        ("retries", "9", {"UV_HTTP_RETRIES": "9"}),
        ("disable-pip-version-check", "1", {}),
    ],
)
def test_a_setting_of_pip_becomes_the_variable_that_uv_reads(setting, value, variables):
    assert uv_variables({setting: value}, {}) == variables


@pytest.mark.parametrize("own", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_a_variable_that_the_user_has_set_stays_under_each_of_its_names(own):
    assert uv_variables({"index-url": "https://pips"}, {own: "https://own"}) == {}


def test_the_users_strategy_for_several_indexes_stays():
    assert uv_variables({"extra-index-url": "https://a"}, {"UV_INDEX_STRATEGY": "first-index"}) == {
        "UV_INDEX": "https://a"
    }


@pytest.mark.parametrize(("value", "options"), [("1", ["--no-index"]), ("true", ["--no-index"]), ("0", []), ("no", [])])
def test_no_index_is_an_option_since_uv_has_no_variable_for_it(value, options):
    assert uv_options({"no-index": value}, {}, ["pip", "install"]) == options


def test_constraints_of_the_machine_join_those_of_the_command_unless_hashes_are_required():
    settings = {"constraint": "/etc/a.txt /etc/b.txt"}
    given = ["pip", "install", "-c", "constraints.txt", "-e", "."]
    assert uv_options(settings, {}, given) == ["--constraints", "/etc/a.txt", "--constraints", "/etc/b.txt"]
    assert uv_options(settings, {"UV_CONSTRAINT": "own.txt"}, given) == ["--constraints", "own.txt"]
    assert uv_options(settings, {"UV_CONSTRAINT": "own.txt"}, ["pip", "install", "--require-hashes"]) == []
