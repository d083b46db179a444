"""Five rendered verification sets, each modelled on a common benchmark.

=================  ==============  =====================================================
name               modelled on     each pair shows
=================  ==============  =====================================================
mixed              LFW             photographs as they come, yaw up to 40 degrees
cross_age          CA-LFW          a young and an old photograph
cross_pose         CP-LFW          a nearly frontal face and one of yaw 35-60 degrees
frontal_profile    CFP-FP          a frontal face and a profile
age_gap_30         AgeDB-30        photographs thirty years apart
=================  ==============  =====================================================

The ten folds are disjoint in identities, and half the pairs of each are genuine. As in
CA-LFW and CP-LFW, impostor pairs share gender and main ethnicity, as far as their fold
has two people of that kind; in ``mixed``, as in LFW, they are arbitrary. Each pair is
labelled with the demographic group of its people, or as across groups.

A person is in one genuine pair and two impostor pairs, so a set of n pairs is of n / 2
people. ``SHA256SUMS`` seals a finished set; see :mod:`bridges.datasets.checksums`.
"""

import collections
import os
import pathlib

import numpy as np

from bridges.datasets.checksums import write_checksums
from bridges.datasets.dataset_facts import CHECKSUMS
from bridges.datasets.dataset_format import METADATA
from bridges.datasets.verification_set import PAIRS, write_pairs
from bridges.faces.capture import CaptureStyle
from bridges.faces.names import VERIFICATION_SETS as NAMES
from bridges.faces.world import FaceWorld, Photograph, render_photographs
from hyperface_jax import InputError, checks, files

NUM_FOLDS = 10
# The group label of pairs whose two people belong to different groups.
ACROSS_GROUPS = "across groups"
# LFW was collected with a detector of frontal faces, so it lacks large poses.
_AS_THEY_COME = CaptureStyle(yaw=(0.0, 40.0))
_STYLES = {
    "mixed": (_AS_THEY_COME, _AS_THEY_COME),
    "cross_age": (CaptureStyle(ages=(20.0, 34.0)), CaptureStyle(ages=(50.0, 70.0))),
    "cross_pose": (CaptureStyle(yaw=(0.0, 15.0)), CaptureStyle(yaw=(35.0, 60.0))),
    "frontal_profile": (
        CaptureStyle(yaw=(0.0, 8.0)),
        CaptureStyle(yaw=(75.0, 90.0), pitch=6.0),
    ),
}
# Years between the two photographs, and the range of ages in the first.
_GAP, _YOUNGEST, _OLDEST = 30.0, 20.0, 48.0


def render_verification_set(
    name: str,
    output: str | os.PathLike[str],
    *,
    num_pairs: int = 600,
    image_size: int = 112,
    seed: int = 0,
    num_processes: int | None = None,
) -> pathlib.Path:
    """Renders one verification set; resumed if incomplete.

    Args:
      name: one of ``NAMES``.
      output: the folder; metrics are reported under its last part.
      num_pairs: a multiple of 20, at least 40: ten folds, half the pairs genuine.
      image_size: side of the square images, pixels.
      seed: seed of the world. The identities of a set are in no other stream.
      num_processes: number of rendering processes; by default one per core.

    Returns:
      The folder, which :func:`bridges.datasets.verification_set.load_verification_set`
      reads.

    Raises:
      InputError: an unknown name, a number of pairs that ten balanced folds cannot
        share, or a folder made with other settings.
    """
    checks.one_of(name, "verification set", NAMES)
    checks.whole_number(num_pairs, "num_pairs", 0)
    if num_pairs < 2 * NUM_FOLDS * 2 or num_pairs % (2 * NUM_FOLDS):
        raise InputError(
            f"num_pairs is {num_pairs}, expected a multiple of {2 * NUM_FOLDS}, at "
            f"least {4 * NUM_FOLDS}: {NUM_FOLDS} folds, half of each genuine"
        )
    world = FaceWorld(seed, name)
    people = num_pairs // 2
    photographs = [
        Photograph(number, side, _style(name, number, side))
        for number in range(people)
        for side in (0, 1)
    ]
    settings = {"verification_set": name, "num_pairs": num_pairs}
    render_photographs(output, world, photographs, image_size, settings, num_processes)
    folder = pathlib.Path(output)
    # The pairs of an earlier version stay, because metrics were measured on them.
    if not (folder / PAIRS).exists():
        files.remove_partial(folder / PAIRS)
        write_pairs(folder, _pairs(world, name, people))
    if not (folder / CHECKSUMS).exists():
        files.remove_partial(folder / CHECKSUMS)
        images = [_file(each.identity, each.index) for each in photographs]
        write_checksums(folder, [METADATA, PAIRS, *images])
    return folder


def _style(name: str, number: int, side: int) -> CaptureStyle:
    if name != "age_gap_30":
        return _STYLES[name][side]
    # 7 and 29 are coprime, so the first ages cover the range evenly.
    age = _YOUNGEST + (_OLDEST - _YOUNGEST) * (7 * number % 29) / 28 + _GAP * side
    return CaptureStyle(ages=(age, age))


def _pairs(
    world: FaceWorld, name: str, people: int
) -> list[tuple[str, str, bool, int, str]]:
    """Rows of ``pairs.csv``: a genuine and an impostor pair for each person."""
    rows = []
    folds = np.array_split(np.arange(people), NUM_FOLDS)
    for fold, members in enumerate(folds):
        others = _partners(world, members, alike=name != "mixed")
        for member, other in zip(members, others, strict=True):
            rows.append(_pair(world, fold, member, member))
            rows.append(_pair(world, fold, member, other))
    return rows


def _pair(
    world: FaceWorld, fold: int, first: int, second: int
) -> tuple[str, str, bool, int, str]:
    """The row of photograph 0 of ``first`` and photograph 1 of ``second``."""
    groups = {world.identity(int(number)).group for number in (first, second)}
    group = groups.pop() if len(groups) == 1 else ACROSS_GROUPS
    return _file(first, 0), _file(second, 1), bool(first == second), fold, group


def _partners(world: FaceWorld, members: np.ndarray, alike: bool) -> np.ndarray:
    """The impostor of each member of a fold: arbitrary or of the same kind."""
    partner = {}
    for ring in _rings(world, members) if alike else [members]:
        partner |= dict(zip(ring, np.roll(ring, -1), strict=True))
    return np.array([partner[member] for member in members])


def _rings(world: FaceWorld, members: np.ndarray) -> list[list[int]]:
    """Splits ``members`` into rings of at least two; neighbours are of similar looks.

    A ring holds one gender and main ethnicity, sorted by the weight of that ethnicity.
    Somebody who is the only one of a kind joins the largest ring, preferably of the
    same gender.
    """
    looks = {}
    for member in members:
        identity = world.identity(int(member))
        main = int(np.argmax(identity.ethnicity))
        looks[member] = (identity.male, main, identity.ethnicity[main])
    rings = collections.defaultdict(list)
    for member in sorted(members, key=looks.__getitem__):
        rings[looks[member][:2]].append(member)
    for alone in [key for key, ring in rings.items() if len(ring) == 1]:
        # Somebody else who was alone may have joined this ring.
        if len(rings[alone]) == 1:
            others = (key for key in rings if key != alone)
            male = alone[0]
            to = max(others, key=lambda key: (key[0] == male, len(rings[key])))
            rings[to] += rings.pop(alone)
    return list(rings.values())


def _file(number: int, side: int) -> str:
    return f"images/{number:06d}/{number:06d}_{side:03d}.jpg"
