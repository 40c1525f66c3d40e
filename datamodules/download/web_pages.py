"""Web pages that were saved in place of the data: logins, agreements, quota and error pages."""

from pathlib import Path

from mtlzoo.datamodules.errors import DataError


def refuse_page(path: Path) -> None:
    """Refuses a file that is a web page.

    Raises:
        DataError: The file begins as HTML does.
    """
    with path.open("rb") as file:
        head = file.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        raise DataError(
            f"{path}: a web page, not data: the site answered with a login, an agreement or an error. Delete it, open "
            "its address in a browser, and save what the page offers."
        )
