"""How well recognisers tell photorealistic people apart, by equal error rates.

    make photos && .venv/bin/pip install openpeople
    python -m benchmarks.photo_recognition

The pictures are those of the package openpeople: ten people made by an image model, no
real ones, some near look-alikes. So few cannot say how well real people are recognised:
compare recognisers, nothing else. Faces are found by MTCNN and aligned; of a picture of
one person the largest is taken, of a sheet of 16 expressions all. Both images of a pair
are from different pictures: 700 genuine pairs, 18,000 of impostors.
"""

import importlib.metadata
import pathlib
import time
from typing import NamedTuple

import numpy as np
from absl import flags

from bridges.alignment import align_face
from bridges.datasets.images import read_image
from bridges.evaluation.error_rates import equal_error_rate
from bridges.photographs.detector import DetectedFace, Detector, load_detector
from bridges.recognisers.embedding import embed_images
from bridges.recognisers.recogniser import load_recogniser
from hyperface_jax import InputError, files
from hyperface_jax.commands import progress, provenance, run_command

FLAGS = flags.FlagValues()

flags.DEFINE_list(
    "recognisers",
    ["sface", "recogniser_f"],
    "what hyperface-embed --model takes, with commas",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "output", None, "where the JSON record goes, if anywhere", flag_values=FLAGS
)

_SINGLE = ("amateur_selfie", "studio_portrait", "amateur_posture", "studio_posture")
_SHEET = "emotions_sheet"


class Faces(NamedTuple):
    """Aligned faces.

    Attributes:
      crops: ``[n, 112, 112, 3]`` uint8 RGB.
      person: ``[n]`` who is on each.
      picture: ``[n]`` the picture that each is from.
    """

    crops: np.ndarray
    person: np.ndarray
    picture: np.ndarray


def pictures(num_people: int | None = None) -> list[pathlib.Path]:
    """The pictures of people, five of each person.

    Args:
      num_people: of how many; None for all ten.

    Raises:
      InputError: the package is not installed.
    """
    try:
        package = importlib.metadata.distribution("openpeople")
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            "openpeople: not installed; run .venv/bin/pip install openpeople"
        ) from None
    root = pathlib.Path(str(package.locate_file("openpeople/data/curated")))
    people = sorted(path for path in root.iterdir() if path.is_dir())[:num_people]
    return [
        person / "assets" / f"{kind}.jpg"
        for person in people
        for kind in (*_SINGLE, _SHEET)
    ]


def aligned(paths: list[pathlib.Path], detector: Detector) -> Faces:
    """Finds and aligns the faces of pictures.

    Raises:
      InputError: a picture without a face.
    """
    crops, person, picture = [], [], []
    bar = progress(description="aligning", total=len(paths), unit="picture")
    with bar:
        for path in paths:
            image = read_image(path)
            faces = detector.detect(image)
            if not faces:
                raise InputError(f"{path}: no face found")
            if path.stem in _SINGLE:
                faces = [max(faces, key=_area)]
            crops += [align_face(image, face.points) for face in faces]
            person += [path.parts[-3]] * len(faces)
            picture += [str(path)] * len(faces)
            bar.update(1)
    return Faces(np.stack(crops), np.array(person), np.array(picture))


def pairs(rows: np.ndarray, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs from different pictures, and whether each is of one person.

    Args:
      rows: ``[n, d]`` unit embeddings of the faces.
      faces: the faces.
    """
    first, second = np.triu_indices(len(rows), 1)
    apart = faces.picture[first] != faces.picture[second]
    first, second = first[apart], second[apart]
    cosines = np.einsum("nd,nd->n", rows[first], rows[second])
    return cosines, faces.person[first] == faces.person[second]


def measure(name: str, faces: Faces, *, flip: bool) -> dict[str, object]:
    """What one recogniser makes of the faces, JSON-ready."""
    recogniser = load_recogniser(name, device="cpu")
    start = time.process_time()
    rows = embed_images(recogniser, faces.crops, flip=flip)
    seconds = time.process_time() - start
    cosines, same = pairs(rows, faces)
    return {
        "recogniser": recogniser.model["name"],
        "sha256": recogniser.model["sha256"],
        "flip": flip,
        "eer": equal_error_rate(cosines, same),
        "genuine_cosine": float(cosines[same].mean()),
        "impostor_cosine": float(cosines[~same].mean()),
        "cpu_ms_per_face": 1000 * seconds / len(rows),
    }


def main() -> None:
    """Measures the recognisers that the flags name, with and without mirror images."""
    faces = aligned(pictures(), load_detector(device="cpu"))
    _, same = pairs(np.zeros((len(faces.crops), 1)), faces)
    print(
        f"{len(faces.crops)} faces, {same.sum()} genuine pairs, {(~same).sum()} of "
        "impostors, all from different pictures"
    )
    rows = []
    for name in FLAGS.recognisers:
        for flip in (False, True):
            rows.append(measure(name, faces, flip=flip))
            print(
                "{recogniser:14s} flip {flip!s:5s}  EER {eer:6.2%}  mean cosine "
                "genuine {genuine_cosine:.3f}, impostors {impostor_cosine:.3f}  "
                "{cpu_ms_per_face:.1f} ms of CPU a face".format(**rows[-1])
            )
    if FLAGS.output:
        settings = {"recognisers": FLAGS.recognisers}
        record = {"rows": rows, "created_with": provenance(settings)}
        files.write_json(FLAGS.output, record)


def _area(face: DetectedFace) -> float:
    left, top, right, bottom = face.box
    return float((right - left) * (bottom - top))


if __name__ == "__main__":
    run_command(main, FLAGS)
