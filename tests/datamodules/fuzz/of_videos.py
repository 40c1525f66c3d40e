"""KuaiRand, KuaiRec, Tenrec and TikTok."""

from collections.abc import Callable
from datetime import date, timedelta

from fuzz.fixture import Published
from fuzz.forms import Form, Table
from fuzz.values import (
    LARGEST,
    maybe,
    number,
    text,
    whole,
)
from mtlzoo.datamodules import tiktok

CODE = maybe(whole(0, 2**53, -124, points=True))
COUNT, NAMES = maybe(number(0)), maybe(text())
_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
_USER = {
    "user_id": whole(),
    **dict.fromkeys(("user_active_degree", *(f"{name}_range" for name in _COUNTS)), NAMES),
    **dict.fromkeys(("is_live_streamer", "is_video_author", *(f"onehot_feat{i}" for i in range(18))), CODE),
    **dict.fromkeys(_COUNTS, COUNT),
}


def _day(first: str, last: str) -> Callable[[str], bool]:
    days = [date.fromisoformat(first) + timedelta(days=after) for after in range(100)]
    among = {int(f"{day:%Y%m%d}") for day in days if day <= date.fromisoformat(last)}
    return lambda value: number()(value) and float(value) in among


def _hourmin(value: str) -> bool:
    return whole(0, 2359)(value) and int(value) % 100 < 60


_LOG = Table(
    columns={
        **dict.fromkeys(("user_id", "video_id"), whole(0, LARGEST)),
        "date": lambda value: whole()(value) and _day("2022-04-08", "2022-05-08")(value),
        "hourmin": _hourmin,
        "time_ms": whole(1_649_289_600_000, 1_652_140_800_000),
        "tab": whole(0, 14),
        **dict.fromkeys(("is_click", "is_hate"), whole(0, 1)),
        "play_time_ms": whole(),
    }
)
KUAIRAND: dict[str, Form] = {
    "log_standard_4_08_to_4_21_pure.csv": _LOG,
    "log_standard_4_22_to_5_08_pure.csv": _LOG,
    "user_features_pure.csv": Table("table", "user_id", columns=_USER),
    "video_features_basic_pure.csv": Table(
        "table",
        "video_id",
        columns={
            "video_id": whole(),
            **dict.fromkeys(("video_type", "upload_type"), NAMES),
            "tag": maybe(text("-?[0-9]+(,-?[0-9]+)*")),
            **dict.fromkeys(("author_id", "music_id", "music_type", "server_width", "server_height"), CODE),
            "video_duration": COUNT,
        },
    ),
}
KUAIREC: dict[str, Form] = {
    "big_matrix.csv": Table(
        columns={
            **dict.fromkeys(("user_id", "video_id"), whole()),
            **dict.fromkeys(("play_duration", "video_duration", "watch_ratio"), COUNT),
            "time": maybe(
                text("2020-0[789]-(0[1-9]|[12][0-9]|3[01]) ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?")
            ),
            "date": _day("2020-07-01", "2020-09-30"),
            "timestamp": maybe(number(1_593_475_200, 1_601_596_800)),
        }
    ),
    "user_features.csv": Table("table", "user_id", columns=_USER),
    "item_categories.csv": Table(
        "table",
        "video_id",
        columns={
            "video_id": whole(),
            "feat": maybe(text(r"\[ *(-?[0-9]{1,18} *(, *-?[0-9]{1,18} *)*)?\]")),
        },
    ),
    "item_daily_features.csv": Table(
        "table",
        "video_id",
        columns={
            "video_id": whole(),
            "date": lambda value: whole()(value) and _day("2020-07-01", "2020-09-30")(value),
            **dict.fromkeys(("video_type", "upload_type"), NAMES),
            **dict.fromkeys(("author_id", "music_id", "video_tag_id"), CODE),
        },
    ),
}
_HISTORY = tuple(f"hist_{i}" for i in range(1, 11))
TENREC: dict[str, Form] = {
    "ctr_data_1M.csv": Table(
        columns={
            **dict.fromkeys(("user_id", "item_id"), whole()),
            **dict.fromkeys(("video_category", "gender", "age", *_HISTORY), maybe(whole(), r"\N")),
            **dict.fromkeys(("click", "like"), maybe(whole(0, 1, points=True), r"\N")),
            "watching_times": maybe(number(0), r"\N"),
        }
    )
}
TIKTOK: dict[str, Form] = {
    "final_track1_train.txt": Table(
        columns={
            name: whole() if name == "uid" else maybe(whole(0, 1) if name in ("finish", "like") else whole(), "-1")
            for name in tiktok.NAMES
        },
        names=tiktok.NAMES,
        by="\t",
        quoted=False,
    )
}


PUBLISHED = {
    "KuaiRand": Published(KUAIRAND, ignored=("split", "user_shown", "user_click_rate")),
    "KuaiRec": Published(KUAIREC),
    "Tenrec": Published(TENREC),
    "TikTok": Published(TIKTOK),
}
