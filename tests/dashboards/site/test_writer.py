"""The files of a published site: what they hold, what they leave out, and that they replace nothing else."""

import json
import re
import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

import warehouse
from ato.errors import DamagedFileError, InputError
from dashboards.site.pages import pages
from dashboards.site.tables import LEFT_OUT, known_tables, wanted_tables
from dashboards.site.writer import write_site
from dashboards.ui.reading import filled
from tests.warehouse.small_warehouse import COLLECTION, collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def site(study_root, tmp_path_factory):
    """Folder of the small study's site."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(study_root))
        return write_site(tmp_path_factory.mktemp("published") / "site", [COLLECTION]).folder


@pytest.fixture
def without_libraries(monkeypatch):
    """They take as long as the data, and are the same in every site."""
    monkeypatch.setattr("dashboards.site.writer.write_libraries", lambda folder: None)


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_table_has_the_rows_and_types_of_the_warehouse(site, study):
    connection = warehouse.connect()
    for name, table in json.loads((site / "site.json").read_text())["tables"].items():
        if name in ("finding_sentences", "graph_edge_influence", "example_texts"):
            continue
        listed = ", ".join(f'"{column["name"]}"' for column in table["columns"])
        keys = [column["name"] for column in table["columns"] if column["name"].endswith("collection")]
        of_it = " and ".join(f"{key} = '{COLLECTION}'" for key in keys if key != "other_collection")
        here = connection.sql(f"select {listed} from {name} where {of_it} order by all")
        assert [str(type_) for type_ in here.types] == [column["type"] for column in table["columns"]]
        assert table["rows"] == len(here)
        if table["file"] is not None:
            there = duckdb.sql(f"from read_parquet('{site / table['file']}')")
            assert there.fetchall() == here.fetchall(), name


def test_every_statement_of_the_pages_runs_as_it_is_in_the_warehouse(study):
    connection = warehouse.connect()
    known = known_tables(connection)
    for page in pages(known, with_text=True, several=True):
        for sql in page.statements():
            values = dict.fromkeys(re.findall(r"\$(\w+)", sql)) | {"collection": COLLECTION}
            warehouse.run_select(connection, filled(sql, **values))


def test_only_the_texts_of_examples_are_published(site, study):
    found = pq.read_table(site / "data" / "example_texts.parquet").to_pylist()
    sql = """select distinct collection, sequence_id, document, text
from sequences
semi join feature_examples using (collection, sequence_id)"""
    assert found == warehouse.connect().sql(sql).to_arrow_table().to_pylist()


def test_a_page_without_rows_is_left_out(site, study, tmp_path, monkeypatch, without_libraries):
    listed = {page["name"] for page in json.loads((site / "site.json").read_text())["pages"]}
    assert {"fate", "graphs", "entities", "labels", "sae_study", "compare/graph"} <= listed
    assert "compare/collection" not in listed, "there is one"
    warehouse_ = Warehouse(tmp_path / "warehouse")
    commit_stage(warehouse_, "collect", write(warehouse_, collect_rows()))
    monkeypatch.setenv("ATO_WAREHOUSE", str(warehouse_.root))
    bare = write_site(tmp_path / "bare", [COLLECTION]).folder
    left = {page["name"] for page in json.loads((bare / "site.json").read_text())["pages"]}
    gone = {"fate", "graphs", "entities", "labels", "labelled", "sae_study", "text", "compare/entity", "compare/graph"}
    assert listed - left == gone | {f"compare/{kind}" for kind in ("feature", "operator", "sae")}


def test_the_same_study_gives_the_same_bytes(site, study, tmp_path):
    again = write_site(tmp_path / "again", [COLLECTION]).folder
    assert contents(again) == contents(site)


def test_without_text_no_file_holds_a_token_window_of_the_corpus(site, study, tmp_path, without_libraries):
    bare = write_site(tmp_path / "bare", [COLLECTION], with_text=False).folder
    assert "data/feature_examples.parquet" in contents(site)
    of_text = ("feature_examples", "example_texts", "example_windows")
    assert not any(name in file for name in of_text for file in contents(bare))
    texts = {
        text for (text,) in warehouse.connect().sql("select text from sequences where length(text) > 8").fetchall()
    }
    windows = {
        tuple(tokens)
        for table in ("feature_examples", "example_windows")
        for (tokens,) in warehouse.connect().sql(f"select tokens from {table}").fetchall()
    }
    assert windows
    for file in sorted(bare.rglob("*.parquet")):
        for column in pq.read_table(file).columns:
            for value in column.to_pylist():
                assert not isinstance(value, list) or tuple(value) not in windows, file.name
                assert not isinstance(value, str) or not any(text in value for text in texts), file.name
    statements = " ".join(sql for page in pages(["feature_examples"], with_text=False) for sql in page.statements())
    assert "feature_examples" not in statements


def test_what_judges_cost_is_published_and_what_they_replied_is_not(site, study):
    (found,) = pq.read_table(site / "data" / "judge_costs.parquet").to_pylist()
    assert (found["n_calls"], found["cost"]) == (1, 0.01)
    assert not (site / "data" / "llm_calls.parquet").exists()


def test_no_column_says_where_things_lie_on_this_machine(site, study_root):
    assert not any(str(study_root).encode() in content for content in contents(site).values())
    for file in site.rglob("*.parquet"):
        assert not LEFT_OUT & set(pq.read_schema(file).names)


def test_a_folder_with_other_files_is_refused_and_a_site_is_replaced(site, study, tmp_path, without_libraries):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="other files than a site"):
        write_site(tmp_path / "mine", [COLLECTION])
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "data" / "old.parquet").write_bytes(b"of a former study")
    replaced = write_site(tmp_path / "site", [COLLECTION], with_text=False)
    assert not (replaced.folder / "data" / "old.parquet").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"], "nothing of the staging is left"


def test_a_failure_leaves_the_earlier_site_as_it_was(site, study, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(site, tmp_path / "site"))

    def fails(place):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dashboards.site.writer.write_libraries", fails)
    with pytest.raises(Exception, match="no space left"):
        write_site(folder, [COLLECTION], with_text=False)
    assert contents(folder) == contents(site)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_large_tables_are_published_only_where_a_page_reads_them(study):
    known = known_tables(warehouse.connect())
    names = wanted_tables(pages(known, with_text=True), known)
    assert {"feature_profile", "transport_map"} <= set(names)
    assert not {"activations", "feature_transport", "sequences", "stage_runs"} & set(names)


def test_a_file_that_cannot_be_read_is_named_in_one_line_and_the_earlier_site_stays(
    site, study_root, tmp_path, monkeypatch
):
    root = Path(shutil.copytree(study_root, tmp_path / "warehouse"))
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    folder = Path(shutil.copytree(site, tmp_path / "site"))
    file = next((root / "operators").rglob("*.parquet"))
    whole = file.read_bytes()
    for damaged in (b"PAR1" + bytes(len(whole) - 8) + b"PAR1", whole[:100]):  # of its size: only reading tells
        file.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=rf"^[^\n]*{file.name}[^\n]*ato run[^\n]*$"):
            write_site(folder, [COLLECTION])
    assert contents(folder) == contents(site)
