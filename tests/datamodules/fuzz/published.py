"""Every fixture that reads files, and more of them in the forms of other releases."""

import importlib
import inspect
from dataclasses import replace

import mtlzoo.datamodules
from fuzz import of_films, of_reviews, of_shops, of_videos
from fuzz.fixture import Published
from mtlzoo.datamodules import MultiTaskDataModule

PUBLISHED = of_films.PUBLISHED | of_reviews.PUBLISHED | of_videos.PUBLISHED | of_shops.PUBLISHED


def sources() -> dict[str, Published]:
    """Every data module's fixture that reads files, and those above in more forms."""
    found = {}
    for name in mtlzoo.datamodules.__all__:
        kind = getattr(mtlzoo.datamodules, name)
        if inspect.isclass(kind) and issubclass(kind, MultiTaskDataModule) and not inspect.isabstract(kind):
            build = importlib.import_module(f"fixtures.{kind.__module__.rpartition('.')[2]}").build
            found[name] = replace(PUBLISHED.get(name, Published({})), build=build)
    return {**PUBLISHED, **found}
