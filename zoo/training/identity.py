"""Which data a model was trained on, and whether data that it meets mean the same.

A data module's ``identity`` is a plain mapping: ``schema``; digests of vocabularies, scales, edges of buckets and
scales of labels, by ``parts``; ``vocabulary``, all that checkpoints of earlier versions hold; and for messages
``fingerprint`` and ``folder`` of the prepared data. Loaders carry it too. Data without one are foreign and pass.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from mtlzoo.schema import FeatureSchema

DATA = "mtlzoo_data"
"""Entry of a checkpoint that says which data its model was trained on."""
Identity: TypeAlias = Mapping[str, Any]
_LEARNED = ("cardinality", "center", "scale", "classes", "class_names")
"""What of features and tasks is learned of train."""
_REMEDY = (
    "Encode the data as those of the training: like= of the data module (--data.like) takes the run folder, the "
    "checkpoint or the prepared folder. Or use the files and options of the training."
)


def identities(sources: Any) -> Iterator[Identity]:
    """Identities of data modules or loaders, alone or in lists and dictionaries, as a Trainer holds them."""
    if isinstance(sources, Mapping):
        sources = list(sources.values())
    for source in sources if isinstance(sources, list | tuple) else [sources]:
        if isinstance(source, Mapping | list | tuple):
            yield from identities(source)
        elif isinstance(identity := getattr(source, "identity", None), Mapping):
            yield identity


def noted(identity: Identity) -> dict[str, Any]:
    """What a checkpoint keeps of an identity: the schema it has anyway."""
    return {name: value for name, value in identity.items() if name != "schema"}


def check_meaning(who: str, schema: FeatureSchema, trained: Identity | None, met: Identity) -> None:
    """Refuses data whose columns, ids or numbers mean something else to a model.

    Args:
        who: The model or its checkpoint, for messages.
        schema: Of the model.
        trained: What the model notes of the data that it was trained on; None where it was not, or not on ours.
        met: Identity of the data that it meets.

    Raises:
        ValueError: With what differs, and how to bring the data along.
    """
    check_columns(who, data_columns(schema), data_columns(FeatureSchema.from_dict(met["schema"])))
    if trained is None:
        return
    known = trained.get("parts", met["parts"])  # earlier versions noted vocabularies alone
    differ = sorted(part for part in {**known, **met["parts"]} if known.get(part) != met["parts"].get(part))
    ids = trained["vocabulary"] != met["vocabulary"] or any(part.startswith("table") for part in differ)
    if differ or ids:
        raise ValueError(
            f"{who} was trained on {trained['fingerprint']}, whose {'ids' if ids else 'numbers'} mean other values "
            f"than those of {met['fingerprint']}: {_few(differ or ['vocabularies'])} differ. {_REMEDY}"
        )


def check_columns(who: str, known: Mapping[str, Any], found: Mapping[str, Any], holder: str = "model") -> None:
    """Refuses schemas, as plain mappings, that differ in any part but ``ids``.

    Args:
        who: As of `check_meaning`.
        known: Schema of the model.
        found: Schema of the data.
        holder: What holds the one that is known, for messages.

    Raises:
        ValueError: With the parts that differ.
    """
    if parts := [part for part in found if part != "ids" and found[part] != known[part]]:
        lines = [f"{p}: {holder} {_only(known[p], found[p])}, data {_only(found[p], known[p])}" for p in parts]
        same = all(_declared(found[part]) == _declared(known[part]) for part in parts)
        remedy = f"\nThe columns are those of another train split. {_REMEDY}" if same else ""
        raise ValueError(f"{who} was made for data with other columns.\n  " + "\n  ".join(lines) + remedy)


def data_columns(schema: FeatureSchema) -> dict[str, Any]:
    """What of a schema is of the data; weights of tasks and the pooling of sequences are the model's to choose."""
    plain = schema.to_dict()
    ours = ("weight", "pooling", "target")
    for part in ("features", "tasks"):
        plain[part] = [{k: v for k, v in entry.items() if k not in ours} for entry in plain[part]]
    return plain


def _declared(entries: Any) -> Any:
    """Features or tasks without what is learned."""
    if not isinstance(entries, list):
        return entries
    return [{k: v for k, v in entry.items() if k not in _LEARNED} for entry in entries]


def _only(these: Any, others: Any) -> Any:
    """What only one of two lists has, or all where only the order differs."""
    if isinstance(these, list) and isinstance(others, list):
        return [item for item in these if item not in others] or [_name(item) for item in these]
    return these


def _name(item: Any) -> Any:
    return item.get("name", item) if isinstance(item, Mapping) else item


def _few(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
