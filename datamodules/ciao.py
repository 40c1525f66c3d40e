"""Ciao (Tang et al., WSDM 2012): ratings of products, and whom their authors trust."""

from mtlzoo.datamodules.trust import TrustDataModule


class Ciao(TrustDataModule):
    """284,086 ratings of 105,114 products by 7,375 users of ciao.co.uk, with 111,781 links of trust and 28 categories.

    Tasks, features, split, files and arguments are those of `TrustDataModule`. (CiaoDVD is another data set.)

    Licence: none stated, for research. Source: https://www.cse.msu.edu/~tangjili/trust.html. Citation: Tang, Gao and
    Liu, mTrust: Discerning Multi-Faceted Trust in a Connected World, WSDM 2012.
    """

    categories = 28
    citation = "Tang, Gao and Liu, mTrust, WSDM 2012"
