"""Pickles of plain data are read as Python reads them; all others are refused."""

import copyreg
import io
import os
import pickle
import time

import numpy as np
import pytest

from bridges.datasets.plain_pickle import PickleError, load_plain

VALUES = [
    ([b"one", b"", bytes(range(256)) * 300], [True, False]),
    [1, -5, 70_000, 2**40, -(2**70), 1.5, None, "text", ("a", [b"b"], ())],
    (list(range(3000)), {}.get("x")),
    [[b"shared"] * 3] * 2,
]
ARRAYS = [
    np.arange(300, dtype=np.uint8).reshape(-1, 1),
    np.array([True, False, True]),
    np.arange(12, dtype=">i4").reshape(3, 4),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.zeros((0, 4), np.float32),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_equal_what_pickle_reads(protocol):
    for value in VALUES:
        assert load_plain(pickle.dumps(value, protocol)) == value
    for array in ARRAYS:
        found, number = load_plain(pickle.dumps([array, np.float64(2.5)], protocol))
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype and number == 2.5
        (truth,) = load_plain(pickle.dumps([array.reshape(-1)[:1] > 0], protocol))
        assert truth.dtype == bool


def test_pickles_of_python_2_and_old_numpy():
    """As cPickle wrote them, by the opcodes; pickle reads the same as Latin-1."""
    jpeg = b"\xff\xd8\xff'\n\\x"
    old = b"\x80\x02]q\x01(U" + bytes([len(jpeg)]) + jpeg + b"q\x02h\x02e."
    assert load_plain(old) == [jpeg, jpeg]
    assert load_plain(b"(lp0\nS'\\xff\\xd8a'\np1\naI01\naI00\na.") == [
        *(b"\xff\xd8a", True, False)
    ]
    array = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b"
        b"\x87R(K\x01K\x03\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff"
        b"\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\xff\xd8atb."
    )
    assert load_plain(array).tobytes() == b"\xff\xd8a"
    assert pickle.loads(array, encoding="latin-1").tobytes() == b"\xff\xd8a"


class Reduces:
    def __reduce__(self):
        return os.system, ("touch escaped",)


class Builds:
    def __init__(self):
        self.value = 1


class Persists(pickle.Pickler):
    def persistent_id(self, obj):
        return "id" if obj == "persist" else None


def by_extension() -> bytes:
    copyreg.add_extension(__name__, "Builds", 0x1234)
    try:
        return pickle.dumps(Builds, 2)
    finally:
        copyreg.remove_extension(__name__, "Builds", 0x1234)


def by_persistent_id(protocol) -> bytes:
    buffer = io.BytesIO()
    Persists(buffer, protocol).dump(["persist"])
    return buffer.getvalue()


GADGETS = {
    "global": b"cos\nsystem\n.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "reduce": pickle.dumps(Reduces()),
    "reduce, protocol 0": pickle.dumps(Reduces(), 0),
    "getattr": b"cbuiltins\ngetattr\n(cnumpy\ndtype\nVitem\ntR.",
    "eval by Python 2's name": b"c__builtin__\neval\n(Vopen('escaped','w')\ntR.",
    "instance": b"(Vtouch escaped\nios\nsystem\n.",
    "object": b"(cos\nsystem\nVtouch escaped\no.",
    "new object": b"\x80\x02cos\n_wrap_close\n)\x81.",
    "new object with keywords": b"\x80\x04cos\n_wrap_close\n)}\x92.",
    "build": pickle.dumps(Builds()),
    "build on a list": b"]}Vx\nK\x01sb.",
    "build on a name": b"cnumpy\ndtype\n(K\x01)tb.",
    "extension": by_extension(),
    "persistent id": by_persistent_id(0),
    "binary persistent id": by_persistent_id(4),
    "reduce on a list": b"](tR.",
    "reconstruct with another class": b"cnumpy\nndarray\n(K\x01tR.",
    "encode with another codec": b"c_codecs\nencode\n(Vx\nVzlib\ntR.",
    "buffer outside": b"\x80\x05\x97.",
    "dictionary": b"}.",
    "set": b"\x80\x04\x8f.",
}


@pytest.mark.parametrize("gadget", GADGETS)
def test_whatever_could_run_something_is_refused(gadget, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PickleError):
        load_plain(GADGETS[gadget])
    assert not os.listdir(tmp_path)


def test_arrays_that_are_none_are_refused():
    text = np.array([b"ab"])
    objects = np.array([None, 1], object)
    for array in (text, objects, np.array(["a"]), np.zeros(2, "i4,f4")):
        with pytest.raises(PickleError, match="array"):
            load_plain(pickle.dumps(array))
    whole = pickle.dumps(np.arange(100, dtype=np.uint8), 2)
    with pytest.raises(PickleError, match=r"another size|truncated"):
        load_plain(whole.replace(b"Kd\x85", b"Kc\x85"))


def test_truncated_pickles_are_refused():
    whole = pickle.dumps(([b"a" * 300, b"b"], [True]), 4)
    for length in range(len(whole)):
        with pytest.raises(PickleError):
            load_plain(whole[:length])


def test_small_files_cannot_ask_for_much():
    """Lists of one list, over and over; bytes that are said to be long."""
    nested = b"\x80\x02(]q\0" + b"".join(
        b"]q" + bytes([k + 1]) + b"(" + (b"h" + bytes([k])) * 10_000 + b"e"
        for k in range(4)
    )
    start = time.monotonic()
    assert len(load_plain(nested + b"t.")) == 5
    for content in (b"\x8e" + b"\xff" * 8 + b"a", b"B\xff\xff\xff\x7fa.", b"(" * 10**5):
        with pytest.raises(PickleError):
            load_plain(content)
    # Far from what copying each of 10^16 would take; nothing finer is meant.
    assert time.monotonic() - start < 60
