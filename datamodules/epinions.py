"""Epinions (Tang et al., WSDM 2012): ratings of products, and whom their authors trust."""

from mtlzoo.datamodules.trust import TrustDataModule


class Epinions(TrustDataModule):
    """922,267 ratings of 296,277 products by 22,164 users of epinions.com, with 355,754 links of trust, 27 categories.

    Tasks, features, split, files and arguments are those of `TrustDataModule`. The file holds 9,826 pairs twice and
    mostly products with fewer than five ratings: PMTRec's table 1 counts it as it is, though its text says 5-core.

    Licence: none stated, for research. Source: https://www.cse.msu.edu/~tangjili/trust.html. Citation: Tang, Gao and
    Liu, mTrust: Discerning Multi-Faceted Trust in a Connected World, WSDM 2012.
    """

    citation = "Tang, Gao and Liu, mTrust, WSDM 2012"
