"""AmazonReviews and Yelp."""

from typing import Any

from domains.case import NO_ID, NO_STARS, NO_TIME, Case

NO_NAME: list[Any] = [None, "", " ", "a b", "a,b", 'a"b', "caf\u00e9", "a\u0000", 7, 1.5, True, ["a"], {}]
NO_STAR = [None, 0, 6, 4.5, -1, "5", "five", True, [5], float("nan"), float("inf")]
NO_SECONDS = [0, -1, 788918399, 1_300_000_000_000, 1.5, "1300000000", True]

CASES: list[Case] = [
    *(
        ("AmazonReviews given", f"{part}.txt", at, name, [("0", 0), ("4904", 4904)], NO_ID[1:])
        for part, at, name in (("train", 0, "user"), ("train", 1, "item"))
    ),
    ("AmazonReviews given", "train.txt", 2, "rating", [("1", 1), ("5", 5)], [*NO_STARS, "4.5"]),
    ("AmazonReviews 2014 csv", "ratings_Office_Products.csv.gz", 0, "user", [("#oc-R1", "#oc-R1")], ["", " ", "a b"]),
    ("AmazonReviews 2014 csv", "ratings_Office_Products.csv.gz", 1, "item", [("0000", "0000")], ["", " ", "\u00e9"]),
    (
        "AmazonReviews 2014 csv",
        "ratings_Office_Products.csv.gz",
        2,
        "rating",
        [("5.0", 5), ("1", 1)],
        [*NO_STARS, "4.5"],
    ),
    (
        *("AmazonReviews 2014 csv", "ratings_Office_Products.csv.gz", 3, "timestamp"),
        [("1300000000", 1300000000), ("", None)],
        NO_TIME[1:],
    ),
    (
        *("AmazonReviews 2023 csv", "Office_Products.csv.gz", 3, "timestamp"),
        [("1300000000999", 1300000000), ("", None)],
        ["1300000000", "0", "-1", "1300000000000000", "x"],
    ),
    ("AmazonReviews", "Office_Products_5.json.gz", "reviewerID", "user", [("#oc-R1", "#oc-R1")], NO_NAME),
    ("AmazonReviews", "Office_Products_5.json.gz", "asin", "item", [("B1", "B1")], NO_NAME),
    ("AmazonReviews", "Office_Products_5.json.gz", "overall", "rating", [(1, 1), (5.0, 5)], NO_STAR),
    (
        "AmazonReviews",
        "Office_Products_5.json.gz",
        "unixReviewTime",
        "timestamp",
        [(788918400, 788918400), (None, None)],
        NO_SECONDS,
    ),
    (
        "AmazonReviews",
        "Office_Products_5.json.gz",
        "verified",
        "verified",
        [(True, 1), (False, 0), (None, None)],
        [1, 0, "True", "yes", []],
    ),
    (
        *("AmazonReviews", "Office_Products_5.json.gz", "vote", "helpful"),
        [("2", 1), ("1,234", 1), ("0", 0), ("", 0), (None, 0)],
        ["many", "-1", "+1", "1.5", "1,23", "12,34", "0x1", "1_000", "\uff11", 1, True, ["2"]],
    ),
    ("AmazonReviews", "meta_Office_Products.json.gz", "asin", "", [("B1", None)], NO_NAME),
    (
        "AmazonReviews",
        "meta_Office_Products.json.gz",
        "also_buy",
        "",
        [([], None), (None, None), (["B1"], None)],
        ["B1", 3, [3], {}],
    ),
    ("AmazonReviews", "meta_Office_Products.json.gz", "also_view", "", [([], None), (None, None)], ["B1", 3, [["B1"]]]),
    (
        "AmazonReviews",
        "meta_Office_Products.json.gz",
        "category",
        "",
        [([], None), (None, None), (["", "Pens"], None)],
        ["Pens", [3]],
    ),
    (
        *("AmazonReviews 2014", "reviews_Office_Products_5.json.gz", "helpful", "helpful"),
        [([0, 0], 0), ([3, 4], 1), ([0, 9], 0)],
        [None, [], [1], [1, 2, 3], [-1, 2], [1, -2], [None, 3], [1.5, 2], ["1", "2"], 3, "3 of 4"],
    ),
    ("AmazonReviews 2023", "Office_Products.jsonl.gz", "user_id", "user", [("AE1", "AE1")], NO_NAME),
    ("AmazonReviews 2023", "Office_Products.jsonl.gz", "parent_asin", "item", [("B1", "B1")], NO_NAME),
    ("AmazonReviews 2023", "Office_Products.jsonl.gz", "rating", "rating", [(4.0, 4)], NO_STAR),
    (
        "AmazonReviews 2023",
        "Office_Products.jsonl.gz",
        "timestamp",
        "timestamp",
        [(1300000000123, 1300000000)],
        [1300000000, 0],
    ),
    (
        "AmazonReviews 2023",
        "Office_Products.jsonl.gz",
        "helpful_vote",
        "helpful",
        [(0, 0), (3, 1)],
        [None, -1, 1.5, "3", True],
    ),
    (
        "AmazonReviews 2023",
        "Office_Products.jsonl.gz",
        "verified_purchase",
        "verified",
        [(True, 1), (None, None)],
        [1, "yes"],
    ),
    ("AmazonReviews 2023", "meta_Office_Products.jsonl.gz", "parent_asin", "", [("B1", None)], NO_NAME),
    ("Yelp", "yelp_academic_dataset_review.json", "user_id", "user", [("_a-B9", "_a-B9")], NO_NAME),
    ("Yelp", "yelp_academic_dataset_review.json", "business_id", "item", [("-", "-")], NO_NAME),
    ("Yelp", "yelp_academic_dataset_review.json", "stars", "rating", [(1.0, 1), (5, 5)], NO_STAR),
    (
        "Yelp",
        "yelp_academic_dataset_review.json",
        "useful",
        "useful",
        [(0, 0), (3, 1), (-1, 0), (None, None)],
        [1.5, "3", True, []],
    ),
    ("Yelp", "yelp_academic_dataset_review.json", "date", "", [("never", None), (None, None)], []),
    ("Yelp", "yelp_academic_dataset_user.json", "user_id", "", [("a", None)], NO_NAME),
    (
        "Yelp",
        "yelp_academic_dataset_user.json",
        "friends",
        "",
        [("None", None), ("u_1, u_2", None), (None, None)],
        [3, ["u_1"], {}],
    ),
    (
        "Yelp lists",
        "yelp_academic_dataset_user.json",
        "friends",
        "",
        [([], None), (["None"], None), (None, None)],
        ["u_1", [3]],
    ),
    ("Yelp", "yelp_academic_dataset_business.json", "business_id", "", [("a", None)], NO_NAME),
    ("Yelp", "yelp_academic_dataset_business.json", "categories", "", [("Bars", None), (None, None)], [3, ["Bars"]]),
]
