"""Rules that make one gradient of the gradients of several tasks: pure tensor maths, no Lightning.

All but MoCo keep at most T x T numbers per group. DB-MTL's moving average and what counts single coordinates
(ExcessMTL), whose states are T times the size of the parameters as MoCo's, are left out.
"""

from mtlzoo.callbacks.rules.aligned_mtl import AlignedMTL
from mtlzoo.callbacks.rules.base import GradientRule, GramianRule, LossRule
from mtlzoo.callbacks.rules.cagrad import CAGrad
from mtlzoo.callbacks.rules.conflict_free import ConFIG
from mtlzoo.callbacks.rules.dbmtl import DBMTL
from mtlzoo.callbacks.rules.dualproj import DualProj
from mtlzoo.callbacks.rules.fairgrad import FairGrad
from mtlzoo.callbacks.rules.fixed import Fixed, Mean, Sum
from mtlzoo.callbacks.rules.gradcraft import GradCraft
from mtlzoo.callbacks.rules.graddrop import GradDrop
from mtlzoo.callbacks.rules.gradnorm import GradNorm
from mtlzoo.callbacks.rules.gradvac import GradVac
from mtlzoo.callbacks.rules.imtlg import IMTLG
from mtlzoo.callbacks.rules.loss.dwa import DWA
from mtlzoo.callbacks.rules.loss.equal import Equal
from mtlzoo.callbacks.rules.loss.famo import FAMO
from mtlzoo.callbacks.rules.loss.fixed_weights import FixedWeights
from mtlzoo.callbacks.rules.loss.gls import GLS
from mtlzoo.callbacks.rules.loss.imtl_l import IMTLL
from mtlzoo.callbacks.rules.loss.rlw import RLW
from mtlzoo.callbacks.rules.loss.stch import STCH
from mtlzoo.callbacks.rules.loss.uw import UW
from mtlzoo.callbacks.rules.metabalance import MetaBalance
from mtlzoo.callbacks.rules.mgda import MGDA
from mtlzoo.callbacks.rules.moco import MoCo
from mtlzoo.callbacks.rules.nash_mtl import NashMTL
from mtlzoo.callbacks.rules.pcd import PCD
from mtlzoo.callbacks.rules.pcgrad import PCGrad
from mtlzoo.callbacks.rules.pmtrec import PMTRecRule
from mtlzoo.callbacks.rules.sdmgrad import SDMGrad
from mtlzoo.callbacks.rules.upgrad import UPGrad

__all__ = [
    "DBMTL",
    "DWA",
    "FAMO",
    "GLS",
    "IMTLG",
    "IMTLL",
    "MGDA",
    "PCD",
    "RLW",
    "STCH",
    "UW",
    "AlignedMTL",
    "CAGrad",
    "ConFIG",
    "DualProj",
    "Equal",
    "FairGrad",
    "Fixed",
    "FixedWeights",
    "GradCraft",
    "GradDrop",
    "GradNorm",
    "GradVac",
    "GradientRule",
    "GramianRule",
    "LossRule",
    "Mean",
    "MetaBalance",
    "MoCo",
    "NashMTL",
    "PCGrad",
    "PMTRecRule",
    "SDMGrad",
    "Sum",
    "UPGrad",
]
