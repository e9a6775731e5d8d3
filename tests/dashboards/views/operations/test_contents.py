"""What a collection holds: tokens kept and dropped, and where the bytes are."""

import warehouse
from tests.dashboards.opened_pages import check_numbers, panels, read_page


def test_dropped_tokens_are_named_by_reason_with_their_share(failing):
    tokens = check_numbers(read_page("operations"))["Tokens kept and dropped"].rows.rows()
    assert tokens == [("kept", 90, 0.9), ("first position", 10, 0.1)]


def test_disk_use_adds_up_to_all_files_of_the_collection(study):
    rows = panels(read_page("operations"))["Disk use"].rows
    (total,) = warehouse.connect().sql("select sum(bytes) / 1e6 from stage_runs").fetchall()[0]
    assert abs(rows["megabytes"].sum() - total) < 1e-9
