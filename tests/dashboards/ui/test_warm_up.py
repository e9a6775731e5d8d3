"""What a browser loads while it is idle is there: Streamlit names its files anew with each version."""

from dashboards.ui.warm_up import PARTS, _files


def test_each_part_is_one_file_of_the_installed_streamlit():
    assert [path.removeprefix("static/js/").split(".")[0] for path in _files()] == list(PARTS)
