"""Damaged .bin files are read, or refused by name; nothing is run."""

import pickle

import numpy as np
import pytest

from bridges.datasets.images import encode_jpeg
from bridges.datasets.verification_set import check_images, load_verification_set
from tests.datasets.small_datasets import picture
from tests.fuzz.readers import survive


@pytest.mark.parametrize("name", ["2.bin", "4.bin", "arrays.bin"])
def test_bin_files(tmp_path, name):
    # Small images, so that the damage hits the pickle as well.
    images = [encode_jpeg(picture(k, 8)) for k in range(4)] * 6
    same = [k % 2 == 0 for k in range(12)]
    if name == "arrays.bin":
        images = [np.frombuffer(each, np.uint8) for each in images]
        same = np.array(same)
    protocol = int(name[0]) if name[0].isdecimal() else 2
    content = pickle.dumps((images, same), protocol)
    path = tmp_path / name

    def read(path):
        check_images(load_verification_set(path), skip_unreadable=True)

    survive(path, content, read)
