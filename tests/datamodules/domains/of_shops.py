"""CensusIncome, AliExpress and AliCCP."""

from domains.file import File, small
from domains.values import FLAG, ID, SPELT, Values
from fixtures.aliccp import write_aliccp
from fixtures.aliexpress import write_aliexpress
from fixtures.census import write_census
from mtlzoo.datamodules import AliCCP, AliExpress, CensusIncome, census
from mtlzoo.datamodules.aliexpress import CODES, ITEM, NAMES, NUMBERS, USER

TEXT = Values({"?": "?", "Not in universe": "Not in universe"}, [""])
CENSUS = {
    **dict.fromkeys(census.NAMES, TEXT),
    **dict.fromkeys(census.NUMBERS, Values({"0": 0, "38": 38}, ["", "?", "-1", "1.5", *SPELT])),
    "det_ind_code": Values({"0": "0", "51": "51"}, ["", "-1", "52", "07", "1.0", "?", "x"]),
    "det_occ_code": Values({"0": "0", "46": "46"}, ["", "-1", "47", "07", "1.0", "?", "x"]),
    "own_or_self": Values({"2": "2"}, ["", "3", "-1", "?"]),
    "vet_benefits": Values({"2": "2"}, ["", "3", "-1", "?"]),
    "year": Values({"94": "94", "95": "95"}, ["", "96", "1994", "?"]),
    "instance_weight": Values({"1032.38": 1032.38}, ["", "?", "-1", "1e39", "nan", "inf", "0x1", "x"]),
    "education": Values(
        {name: name for name in census.EDUCATIONS},
        ["", "?", "Not in universe", "CHILDREN", "children", "Bachelors degree (BA AB BS)", "Bachelors", "Child"],
    ),
    "marital_stat": Values(
        {name: name for name in census.MARITAL},
        ["", "?", "NEVER MARRIED", "Never-married", "Never  married", "Never married.", "Single", "Divorce"],
    ),
    "income_50k": Values({"- 50000.": "- 50000.", "50000+.": "50000+."}, ["", "?", "50000+", "-50000.", "- 5000", "0"]),
}
ALI_CODE = Values({"": None, "7": 7, "7.0": 7, "2147483647": 2**31 - 1}, ["-1", "1.5", "2147483648", *SPELT])
ALI_NUMBER = Values({"": None, "-2.5": -2.5, "1e-05": 1e-05}, ["1e39", *SPELT])
SEARCH = Values({}, [""])
ALI_LABEL = Values({"0": 0, "1": 1, "2": 2}, ["", "3", "-1", "0.5", "true", *SPELT])
ALI_FLAG = Values({"0": 0}, ["", "2", "-1", "0.5", *SPELT])
# Of the anonymous fields, which are declared in one breath, the first of each kind.
ALI_USER = {"search_id": SEARCH, CODES[0]: ALI_CODE, NUMBERS[0]: ALI_NUMBER}
ALI_ITEM = {"search_id": SEARCH, CODES[-1]: ALI_CODE, NUMBERS[-1]: ALI_NUMBER, ITEM[-1]: ALI_LABEL}
ALI_READY = {
    "search_id": SEARCH,
    NAMES[CODES[0]]: ALI_CODE,
    NAMES[NUMBERS[0]]: ALI_NUMBER,
    "click": Values({"1": 1}, ALI_FLAG.bad),
    "conversion": ALI_FLAG,
}
ALICCP_SKELETON = {
    "sample_id": ID,
    "click": FLAG,
    "conversion": Values({"0": 0}, FLAG.bad),
    "index": Values({}, [""]),
    "count": Values({}, ["-1", "1.0", "", *SPELT]),
}
ALICCP_COMMON = {
    "index": Values({}, ["", "bacff9169295188", "BACFF91692951881", "bacff91692951881a", "bacff9169295188g", "12"]),
    "count": Values({}, ["-1", "1.0", "", *SPELT]),
}

ALIEXPRESS = (small(write_aliexpress, rows=60), AliExpress)
ALICCP = (small(write_aliccp, rows=60, common=20), AliCCP)
FILES: dict[str, File] = {
    "CensusIncome": File(small(write_census, rows=60), CensusIncome, "census-income.data", CENSUS, census.NAMES, ", "),
    "AliExpress users": File(*ALIEXPRESS, "nl_user_train.csv", ALI_USER, USER),
    "AliExpress items": File(*ALIEXPRESS, "nl_item_train.csv", ALI_ITEM, ITEM),
    "MTReclib": File(
        small(write_aliexpress, layout="mtreclib", rows=60), AliExpress, "AliExpress_NL/train.csv", ALI_READY
    ),
    "AliCCP skeleton": File(*ALICCP, "sample_skeleton_train.csv", ALICCP_SKELETON, (*ALICCP_SKELETON, "strings")),
    "AliCCP common": File(*ALICCP, "common_features_train.csv", ALICCP_COMMON, (*ALICCP_COMMON, "strings")),
}
