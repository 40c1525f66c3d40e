"""KuaiRand, KuaiRec, Tenrec and TikTok."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from domains.file import File, small
from domains.values import CODE, COUNT, FLAG, ID, NAME, SPELT, Values
from fixtures.kuairand import write_kuairand
from fixtures.kuairec import write_kuairec
from fixtures.tenrec import write_tenrec
from fixtures.tiktok import write_tiktok
from mtlzoo.datamodules import KuaiRand, KuaiRec, Tenrec, TikTok, kuairand, kuairec, tenrec, tiktok

DAYS = ["", "0", "-1", "20229999", "20220431", "20220230", "2022-04-20", "20210420", "20230420", "x", *SPELT]

KUAIRAND_LOG = {
    "user_id": ID,
    "video_id": ID,
    "date": Values({"20220408": 20220408, "20220508": 20220508}, [*DAYS, "20220407", "20220509", "20220420.0"]),
    "hourmin": Values({"0": 0, "1830": 1830, "2300": 2300}, ["", "-1", "99", "60", "2400", "2460", "9999", *SPELT]),
    "time_ms": Values(
        {"1649400000000": 1649400000000, "1652000000000": 1652000000000},
        ["", "0", "-1", "1649400000", "1649400000000000", "1680000000000", *SPELT],
    ),
    "tab": Values({"0": 0, "14": 14}, ["", "-1", "15", "1.0", *SPELT]),
    **dict.fromkeys(kuairand.BINARY, FLAG),
    "play_time_ms": Values({"0": 0, "900000": 900000}, ["", "-1", "1.5", *SPELT]),
}
KUAI_USER = {
    **dict.fromkeys(kuairand.USER_NAMES, NAME),
    **dict.fromkeys(kuairand.USER_CODES, CODE),
    **dict.fromkeys(kuairand.USER_COUNTS, COUNT),
    "user_id": Values({}, ID.bad),
}
SOME_USER = {name: KUAI_USER[name] for name in ("user_active_degree", "onehot_feat17", "fans_user_num", "user_id")}
KUAIRAND_VIDEO = {
    "video_type": NAME,
    "upload_type": NAME,
    **dict.fromkeys(kuairand.VIDEO_CODES, CODE),
    "video_duration": COUNT,
    "tag": Values({"": None, "3": "3", "3,62,42": "3,62,42"}, ["x", "3,", "3;4", "3, 4", "1.5", "\u0661", "[3]"]),
    "video_id": Values({}, ID.bad),
}
SOME_TIME = "2020-07-09 23:59:59.999"
KUAIREC_MATRIX = {
    "user_id": ID,
    "video_id": ID,
    "play_duration": COUNT,
    "video_duration": COUNT,
    "time": Values(
        {"": None, SOME_TIME: SOME_TIME, "2020-07-09 00:00:00": "2020-07-09 00:00:00"},
        [
            "2020-07-09",
            "12:00",
            "x",
            *(f"2020-07-09 {time}" for time in ("24:00:00", "-1:00:00", "12:60:00", "9:00:00")),
        ],
    ),
    "date": Values({"20200709": 20200709, "20200709.0": 20200709}, ["20200631", "20200709.5", "20220709", *DAYS]),
    "timestamp": Values({"": None, "1594200000.5": 1594200000.5}, ["0", "-1", "1594200000500", "1.7e9", *SPELT]),
    "watch_ratio": Values({"": None, "0.0": 0, "5.7e-05": 5.7e-05}, ["-0.1", "1e39", *SPELT]),
}
KUAIREC_SMALL = KUAIREC_MATRIX | {"date": Values({"": None, "20200709.0": 20200709}, KUAIREC_MATRIX["date"].bad[:2])}
KUAIREC_VIDEO = {
    **dict.fromkeys(kuairec.VIDEO_NAMES, NAME),
    **dict.fromkeys(kuairec.VIDEO_CODES, CODE),
    "video_id": Values({}, ID.bad),
}
KUAIREC_CATEGORIES = {
    "video_id": Values({}, ID.bad),
    "feat": Values(
        {"": None, "[]": [], "[27, 9]": [27, 9]},
        [
            "27",
            "[-1]",
            "[1.5]",
            "[27 9]",
            "(27, 9)",
            "[27, 9",
            "['27']",
            "[\u0661]",
            "[0x1]",
            "[12345678901]",
            "[27,, 9]",
        ],
    ),
}
TENREC_CODE = Values({r"\N": None, "": None, "0": 0, "7": 7}, ["-1", "1.5", "1.0", *SPELT])
TENREC_FLAG = Values({r"\N": None, "0": 0, "1.0": 1}, ["2", "-1", "0.5", "true", *SPELT])
TENREC_AMOUNT = Values({r"\N": None, "0": 0, "2.5": 2.5}, ["-1", "1e39", *SPELT])
TENREC_VIDEO = {
    "user_id": Values({"7": 7}, [r"\N", *ID.bad]),
    "item_id": Values({"7": 7}, [r"\N", *ID.bad]),
    **dict.fromkeys(("video_category", "gender", "age"), TENREC_CODE),
    **dict.fromkeys(tenrec.HISTORY, Values({r"\N": None, "0": 0, "7": 7}, TENREC_CODE.bad)),
    **dict.fromkeys(("click", "like", "share", "follow"), TENREC_FLAG),
    "watching_times": TENREC_AMOUNT,
}
POINTS = Values({r"\N": None, "3": 3, "3.0": 3}, ["-1", "1.5", "1e30", *SPELT])
TENREC_ARTICLE = {
    **dict.fromkeys(("user_id", "item_id"), Values({"7": 7, "7.0": 7}, [r"\N", "", *POINTS.bad])),
    **dict.fromkeys(("category_first", "category_second", "gender", "age"), POINTS),
    **dict.fromkeys(("click", "read", "like", "share", "follow", "favorite"), TENREC_FLAG),
    **dict.fromkeys(("read_percentage", "read_time"), TENREC_AMOUNT),
}
TIKTOK = {
    **dict.fromkeys(tiktok.NAMES, Values({"-1": None, "0": 0, "53085993699": 53085993699}, ["-2", "1.0", *SPELT])),
    **dict.fromkeys(("finish", "like"), Values({"-1": None, "0": 0, "1": 1}, ["2", "-2", "1.0", "true", *SPELT])),
    "uid": Values({"0": 0, "57384": 57384}, ["-1", "-2", "", "1.0", *SPELT]),
}


def kuairand_of(root: Path) -> KuaiRand:
    return KuaiRand(root, tasks=(*kuairand.BINARY, *kuairand.REGRESSION))


def kuairec_of(root: Path) -> KuaiRec:
    return KuaiRec(root, small_matrix=True)


def tenrec_of(scenario: Any) -> Callable[[Path], Tenrec]:
    about = tenrec.SCENARIOS[scenario]
    return lambda root: Tenrec(root, scenario=scenario, tasks=(*about.binary, *about.amounts))


KUAIRAND = (small(write_kuairand, rows=60, users=30, videos=20), kuairand_of)
KUAIREC = (small(write_kuairec, rows=60, users=30, videos=20), kuairec_of)
FILES: dict[str, File] = {
    "KuaiRand log": File(*KUAIRAND, "KuaiRand-Pure/data/log_standard_4_08_to_4_21_pure.csv", KUAIRAND_LOG),
    "KuaiRand users": File(*KUAIRAND, "KuaiRand-Pure/data/user_features_pure.csv", KUAI_USER),
    "KuaiRand videos": File(*KUAIRAND, "KuaiRand-Pure/data/video_features_basic_pure.csv", KUAIRAND_VIDEO),
    "KuaiRec big": File(*KUAIREC, "KuaiRec 2.0/data/big_matrix.csv", KUAIREC_MATRIX),
    "KuaiRec small": File(*KUAIREC, "KuaiRec 2.0/data/small_matrix.csv", KUAIREC_SMALL),
    "KuaiRec users": File(*KUAIREC, "KuaiRec 2.0/data/user_features.csv", SOME_USER),
    "KuaiRec videos": File(*KUAIREC, "KuaiRec 2.0/data/item_daily_features.csv", KUAIREC_VIDEO),
    "KuaiRec categories": File(*KUAIREC, "KuaiRec 2.0/data/item_categories.csv", KUAIREC_CATEGORIES),
    "Tenrec videos": File(small(write_tenrec, users=4), tenrec_of("ctr_data_1M"), "ctr_data_1M.csv", TENREC_VIDEO),
    "Tenrec articles": File(
        small(write_tenrec, scenario="QK-article", users=4), tenrec_of("QK-article"), "QK-article.csv", TENREC_ARTICLE
    ),
    "TikTok": File(small(write_tiktok, rows=60), TikTok, "final_track1_train.txt", TIKTOK, tiktok.NAMES, "\t"),
}
