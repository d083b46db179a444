"""Groups are read from words, from shares and from the gender's number."""

from bridges.datasets.groups import groups_of


def test_words_shares_and_gender():
    records = [
        {
            "file_name": "a.jpg",
            "identity": "ann",
            "gender": 0.02,
            "ethnicity": {"african": 0.1, "asian": 0.6, "caucasian": 0.3},
            "hair_style": "bob",
            "yaw": 3.5,
            "light": [0.1, 0.2, 0.3],
        },
        {
            "file_name": "b.jpg",
            "identity": "bob",
            "gender": 0.9,
            "ethnicity": {"african": 0.5, "asian": 0.5},
            "hair_style": "crop",
            "yaw": 1.0,
            "light": [0.1, 0.2, 0.3],
        },
    ]
    found = {key: values.tolist() for key, values in groups_of(records).items()}
    assert found == {
        "gender": ["female", "male"],
        "ethnicity": ["asian", "african"],
        "hair_style": ["bob", "crop"],
    }


def test_an_attribute_that_some_images_lack_groups_none():
    assert groups_of([{"file_name": "a", "country": "x"}, {"file_name": "b"}]) == {}
    assert groups_of([]) == {}
