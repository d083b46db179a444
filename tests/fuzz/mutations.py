"""Damage to files: what disks, transfers and editors do to them, at random."""

import numpy as np

# Values that programs write and readers forget.
_WORDS = (
    b"null", b"true", b"-1", b"1e999", b"NaN", b'""', b"[]", b"{}", b'"\\ud800"',
    b"99999999999999999999", b"0.5", b'"\\u0000"', b"[" * 3000, b"\xff", b"\0", b"\n",
)  # fmt: skip
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """``content`` with one to four kinds of damage, mostly near the beginning."""
    damaged = bytearray(content)
    for _ in range(random.integers(1, 5)):
        if damaged:
            _DAMAGES[random.integers(len(_DAMAGES))](damaged, random)
    return bytes(damaged)


def _place(content: bytearray, random: np.random.Generator) -> int:
    # Headers decide what is made of the rest, so half of the damage is theirs.
    length = min(len(content), 256) if random.random() < 0.5 else len(content)
    return int(random.integers(length))


def _change_bytes(content: bytearray, random: np.random.Generator) -> None:
    for _ in range(random.integers(1, 9)):
        content[_place(content, random)] = random.integers(256)


def _flip_a_bit(content: bytearray, random: np.random.Generator) -> None:
    content[_place(content, random)] ^= 1 << int(random.integers(8))


def _cut_off(content: bytearray, random: np.random.Generator) -> None:
    del content[_place(content, random) :]


def _cut_out(content: bytearray, random: np.random.Generator) -> None:
    start = _place(content, random)
    del content[start : start + int(random.integers(1, 65))]


def _repeat(content: bytearray, random: np.random.Generator) -> None:
    start = _place(content, random)
    content[start:start] = content[start : start + int(random.integers(1, 65))]


def _put_a_number(content: bytearray, random: np.random.Generator) -> None:
    start, size = _place(content, random), int(random.choice([1, 2, 4, 8]))
    number = int(random.choice(_NUMBERS)) % 256**size
    order = "little" if random.random() < 0.5 else "big"
    content[start : start + size] = number.to_bytes(size, order)


def _put_a_word(content: bytearray, random: np.random.Generator) -> None:
    start = _place(content, random)
    word = _WORDS[random.integers(len(_WORDS))]
    content[start : start + int(random.integers(len(word) + 1))] = word


def _replace_a_value(content: bytearray, random: np.random.Generator) -> None:
    """Replaces what is between two separators of JSON or CSV."""
    separators = [i for i, byte in enumerate(content) if byte in b",:[]{}\n"]
    if len(separators) < 2:
        return
    chosen = int(random.integers(len(separators) - 1))
    word = _WORDS[random.integers(len(_WORDS))]
    content[separators[chosen] + 1 : separators[chosen + 1]] = word


_DAMAGES = (
    _change_bytes,
    _flip_a_bit,
    _cut_off,
    _cut_out,
    _repeat,
    _put_a_number,
    _put_a_word,
    _replace_a_value,
)
