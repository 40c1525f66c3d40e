"""mtlzoo: the PyTorch Lightning model zoo for multi-task recommendation.

Models are LightningModules that take a `FeatureSchema` and hyper-parameters; data sets are LightningDataModules in
`mtlzoo.datamodules`; gradient surgery and monitors are callbacks in `mtlzoo.callbacks` that work in any Lightning
project. The command ``mtlzoo`` joins them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtlzoo.version import __version__

if TYPE_CHECKING:
    from mtlzoo.adatt import AdaTT as AdaTT
    from mtlzoo.aitm import AITM as AITM
    from mtlzoo.analysis.cold_start_report import ColdStartReport as ColdStartReport
    from mtlzoo.checkpoint import load as load
    from mtlzoo.cross_stitch import CrossStitch as CrossStitch
    from mtlzoo.esmm import ESMM as ESMM
    from mtlzoo.mmoe import MMoE as MMoE
    from mtlzoo.module import MultiTaskModule as MultiTaskModule
    from mtlzoo.omoe import OMoE as OMoE
    from mtlzoo.pepnet import PEPNet as PEPNet
    from mtlzoo.ple import PLE as PLE
    from mtlzoo.pmtrec import PMTRec as PMTRec
    from mtlzoo.schema import FeatureSchema as FeatureSchema
    from mtlzoo.shared_bottom import SharedBottom as SharedBottom
    from mtlzoo.single_task import SingleTask as SingleTask
    from mtlzoo.soft_sharing import SoftSharing as SoftSharing
    from mtlzoo.stem_net import STEMNet as STEMNet
    from mtlzoo.tasks import Task as Task

# Imported on first use, so that `mtlzoo.callbacks` alone loads no model and no data module.
MODELS = {
    "AITM": "aitm",
    "AdaTT": "adatt",
    "CrossStitch": "cross_stitch",
    "ESMM": "esmm",
    "MMoE": "mmoe",
    "OMoE": "omoe",
    "PEPNet": "pepnet",
    "PLE": "ple",
    "PMTRec": "pmtrec",
    "STEMNet": "stem_net",
    "SharedBottom": "shared_bottom",
    "SingleTask": "single_task",
    "SoftSharing": "soft_sharing",
}
"""Models by their names, and the module of each."""
_HOMES = {
    **MODELS,
    "ColdStartReport": "analysis.cold_start_report",
    "FeatureSchema": "schema",
    "MultiTaskModule": "module",
    "Task": "tasks",
    "load": "checkpoint",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mtlzoo' has no attribute {name!r}; it has {sorted(_HOMES)}")
    return getattr(import_module(f"mtlzoo.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
