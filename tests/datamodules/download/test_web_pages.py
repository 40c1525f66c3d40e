from pathlib import Path

import pytest

from mtlzoo.datamodules import DataError
from mtlzoo.datamodules.download.archive import extract
from mtlzoo.datamodules.download.web_pages import refuse_page
from mtlzoo.datamodules.reading import read_csv


@pytest.mark.parametrize("page", ["<!DOCTYPE html><p>", "\ufeff\n  <html lang='zh'>", "<!doctype HTML>"])
def test_pages_are_refused_wherever_a_file_is_opened(tmp_path: Path, page: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(page)
    with pytest.raises(DataError, match=r"rows\.csv: a web page, not data.*in a browser"):
        refuse_page(path)
    with pytest.raises(DataError, match="a web page"):
        next(read_csv(path))
    with pytest.raises(DataError, match="a web page"):
        extract(path, tmp_path / "folder")


def test_text_that_only_speaks_of_pages_is_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("title\n<html> for beginners\n")
    assert next(read_csv(path))["title"].to_list() == ["<html> for beginners"]
