"""The faces of one picture: found, chosen, cropped, and doubted where that is due."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bridges.alignment import TEMPLATE_SIZE, align_face, crop_transform
from bridges.photographs.detector import DetectedFace, Detector
from bridges.photographs.face_choice import ALL, LARGEST

# In quarters, counterclockwise: pictures that were scanned or held sideways.
_TURNS = (0, 1, 3, 2)
# Eyes closer than this share of the box's width are those of a profile, whose landmarks
# mean little. Among openpeople's pictures MTCNN gives 200 frontal faces .43 and more
# (YuNet .39), and the profiles of its character sheets .35 and less.
_PROFILE = 0.4
# In degrees; the faces of upright pictures there lean by 22 at most.
_ASKEW = 25
# Shares of the crop that lie outside of the picture, and times that it is enlarged.
_OUTSIDE = 0.05
_ENLARGED = 2.0
# Of the largest face's area: a second face of which anybody would think, too.
_AS_LARGE = 0.5
_GRID = 16


class AlignedFace(NamedTuple):
    """An aligned crop and where it is from.

    Attributes:
      crop: ``[size, size, 3]`` uint8 RGB.
      face: in pixels of the upright picture.
      turn: degrees, counterclockwise, by which the picture had to be turned.
      doubts: what speaks against the crop; empty as a rule.
    """

    crop: np.ndarray
    face: DetectedFace
    turn: int
    doubts: list[str]


def align_picture(
    image: np.ndarray,
    detector: Detector,
    *,
    image_size: int = 112,
    faces: str = LARGEST,
) -> tuple[list[AlignedFace], int]:
    """Finds the faces of a picture and crops those that are asked for.

    Where no face is found, or none that is clearly upright, the picture is also looked
    at from the other three sides.

    Args:
      image: ``[h, w, 3]`` uint8 RGB, upright as far as is known.
      detector: finds faces.
      image_size: side of the crops in pixels.
      faces: a key of :data:`bridges.photographs.face_choice.FACES`.

    Returns:
      The aligned faces, and how many were found.
    """
    found, quarters = _find(image, detector)
    aligned = [
        _aligned(image, face, quarters, image_size, detector)
        for face in _chosen(found, faces, image.shape)
    ]
    rivals = faces == LARGEST and len(found) > 1
    if rivals and _area(found[1]) > _AS_LARGE * _area(found[0]):
        aligned[0].doubts.append("another face is as large, or nearly")
    return aligned, len(found)


def _find(image: np.ndarray, detector: Detector) -> tuple[list[DetectedFace], int]:
    """Faces in pixels of ``image``, the largest first, and the quarters it was turned.

    A face that lies on its side or upside down is often found, with landmarks as if it
    were upright. So where the largest face leans far or scores low, the picture is
    looked at from the other sides, and one from which it is seen clearly is preferred.
    Of 40 pictures of openpeople turned by 0, 90, 180 and 270 degrees, MTCNN has 40, 40,
    30 and 40 upright then, YuNet 40, 39, 24 and 39.
    """
    best: tuple[float, list[DetectedFace], int] = -np.inf, [], 0
    for quarters in _TURNS:
        found = detector.detect(np.ascontiguousarray(np.rot90(image, quarters)))
        if not found:
            continue
        found.sort(key=_area, reverse=True)
        leans = abs(_tilt(found[0].points)) > _ASKEW
        well = found[0].score >= detector.usual_score and not leans
        if quarters == 0 and well:
            return found, 0
        # A profile, too, looks to a detector like something from another side.
        clearly = well and _eye_distance(found[0]) >= _PROFILE
        seen = found[0].score + clearly
        if seen > best[0]:
            best = seen, found, quarters
    _, found, quarters = best
    return [_turned_back(face, quarters, image.shape) for face in found], quarters


def _tilt(points: np.ndarray) -> float:
    """Degrees by which a face leans to a side."""
    linear, _ = crop_transform(points, TEMPLATE_SIZE)
    return float(np.degrees(np.arctan2(linear[1, 0], linear[0, 0])))


def _eye_distance(face: DetectedFace) -> float:
    """Between the eyes, as a share of the width of an upright face's box."""
    eyes = np.linalg.norm(face.points[1] - face.points[0])
    return float(eyes / (face.box[2] - face.box[0]))


def _turned_back(
    face: DetectedFace, quarters: int, shape: tuple[int, ...]
) -> DetectedFace:
    """A face of the turned picture, where it lies in the picture itself."""
    if not quarters:
        return face
    corners = face.box.reshape(2, 2)
    ends = _points_back(corners, quarters, shape)
    box = np.concatenate([ends.min(0), ends.max(0)])
    return face._replace(box=box, points=_points_back(face.points, quarters, shape))


def _points_back(
    points: np.ndarray, quarters: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Points ``[k, 2]`` of the picture turned by ``np.rot90``, in the picture."""
    x, y = points.T
    last_row, last_column = shape[0] - 1, shape[1] - 1
    back = {
        1: (last_column - y, x),
        2: (last_column - x, last_row - y),
        3: (y, last_row - x),
    }
    return np.stack(back[quarters], axis=1)


def _chosen(
    found: Sequence[DetectedFace], faces: str, shape: tuple[int, ...]
) -> Sequence[DetectedFace]:
    if not found or faces == ALL:
        return found
    if faces == LARGEST:
        return found[:1]
    middle = np.array(shape[1::-1]) / 2

    def distance(face: DetectedFace) -> float:
        return float(np.linalg.norm(face.box.reshape(2, 2).mean(0) - middle))

    return [min(found, key=distance)]


def _aligned(
    image: np.ndarray,
    face: DetectedFace,
    quarters: int,
    image_size: int,
    detector: Detector,
) -> AlignedFace:
    linear, offset = crop_transform(face.points, image_size)
    doubts = []
    if quarters:
        doubts.append(f"found after turning the picture by {90 * quarters} degrees")
    # Of a picture turned by one quarter or three the box lies on its side.
    upright = face if quarters % 2 == 0 else face._replace(box=np.roll(face.box, -1))
    if _eye_distance(upright) < _PROFILE:
        doubts.append("a profile, whose landmarks mean little")
    outside = _share_outside(linear, offset, image_size, image.shape)
    if outside > _OUTSIDE:
        doubts.append(f"{outside:.0%} of the crop lies outside of the picture")
    enlarged = float(np.sqrt(np.linalg.det(linear)))
    if enlarged > _ENLARGED:
        doubts.append(f"small, enlarged {enlarged:.1f} times")
    if face.score < detector.usual_score:
        doubts.append(f"a low score, {face.score:.2f}")
    return AlignedFace(
        align_face(image, face.points, image_size), face, 90 * quarters, doubts
    )


def _share_outside(
    linear: np.ndarray, offset: np.ndarray, size: int, shape: tuple[int, ...]
) -> float:
    """The share of the crop's area that lies outside of the picture."""
    steps = (np.arange(_GRID) + 0.5) * size / _GRID
    at = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) - offset
    x, y = (at @ np.linalg.inv(linear).T).T
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    return float(1 - inside.mean())


def _area(face: DetectedFace) -> float:
    left, top, right, bottom = face.box
    return float((right - left) * (bottom - top))
