"""How well faces are found and aligned, by detector, where the truth is known.

    make photos && .venv/bin/pip install openpeople
    python -m benchmarks.face_alignment --output=record.json

Through the product: ``align_picture`` with the detectors by their names.

- **Photorealistic pictures** of the package openpeople, ten people made by an image
  model: of each four pictures of the person alone, and a sheet of 16 expressions.
- **Loose rendered faces**: heads of the face world with room around them, turned and
  moved, in pictures of 320 pixels; of each the true landmarks are known. The error is
  how far the alignment by the detector's landmarks puts the true ones from where their
  own alignment does, in pixels of the 112 px crop, by how far the head is turned. The
  true points are of the 3-D head (centres of eyeballs, a vertex of the nose), so that
  some of the error is a matter of definition.
"""

import statistics
import time

import numpy as np
from absl import flags

from benchmarks import photo_recognition
from bridges.alignment import ARCFACE_TEMPLATE, similarity_transform
from bridges.datasets.images import read_image
from bridges.devices import single_threaded
from bridges.faces.renderer import FaceRenderer
from bridges.faces.world import FaceWorld
from bridges.photographs.detector import Detector, load_detector
from bridges.photographs.picture_alignment import align_picture
from hyperface_jax import files
from hyperface_jax.commands import progress, provenance, run_command, settings_of

FLAGS = flags.FlagValues()

flags.DEFINE_list(
    "detectors", ["mtcnn", "yunet"], "what --detector takes", flag_values=FLAGS
)
flags.DEFINE_integer("num_rendered", 120, "loose rendered faces", 1, flag_values=FLAGS)
flags.DEFINE_string("output", None, "where the JSON record goes", flag_values=FLAGS)

_SIDE = 320
# Degrees by which the head is turned to a side.
_YAWS = ((0, 15), (15, 35), (35, 90))


class LooseRenderer(FaceRenderer):
    """Renders whole heads; the aligned crop is a part of the picture.

    Attributes:
      zoom: the crop's side as a share of the picture's.
      turn: of the crop, in radians.
      shift: of the crop's centre, in pixels of 112.
    """

    zoom, turn, shift = 0.4, 0.0, (0.0, 0.0)

    def _aligned(
        self, vertices: np.ndarray, rotation: np.ndarray, distance: float
    ) -> np.ndarray:
        screen = super()._aligned(vertices, rotation, distance)
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        centre = np.array([56.0, 56.0])
        # A head reaches further up from the face than down.
        plane = screen[:, :2] - centre - [0, 16]
        turned = plane @ np.array([[cos, sin], [-sin, cos]]) * self.zoom
        screen[:, :2] = turned + centre + self.shift
        screen[:, 2] *= self.zoom
        return screen


def loose_face(person: int) -> tuple[np.ndarray, np.ndarray, float]:
    """A picture, the true landmarks in it, and by how much the head is turned."""
    world = FaceWorld(0, "held_out")
    random = np.random.default_rng([7, person])
    renderer = LooseRenderer(_SIDE)
    renderer.zoom = float(random.uniform(0.25, 0.55))
    renderer.turn = float(np.deg2rad(random.normal() * 8))
    renderer.shift = tuple(random.uniform(-8, 8, 2))
    identity, capture = world.identity(person), world.capture(person, 0)
    image = renderer.render(identity, capture)
    return image, renderer.landmarks(identity, capture), abs(capture.yaw)


def crop_error(points: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the true landmarks in two crops, in pixels of 112."""
    crops = [similarity_transform(each, ARCFACE_TEMPLATE) for each in (points, truth)]
    places = [truth @ linear.T + offset for linear, offset in crops]
    return float(np.linalg.norm(places[0] - places[1], axis=1).mean())


def of_pictures(detector: Detector) -> dict[str, object]:
    """What is found in the pictures of openpeople."""
    single, sheets, extra, seconds = 0, [], 0, []
    for path in photo_recognition.pictures():
        image = read_image(path)
        with single_threaded():
            start = time.process_time()
            faces, _ = align_picture(image, detector, faces="all")
            seconds.append(time.process_time() - start)
        if "sheet" in path.stem:
            sheets.append(len(faces))
        else:
            single += bool(faces)
            extra += max(0, len(faces) - 1)
    return {
        "single_found": single,
        "extra_boxes": extra,
        "on_sheets": sheets,
        "cpu_ms_a_picture": 1e3 * statistics.median(seconds),
    }


def of_rendered(
    detector: Detector, pictures: list[tuple[np.ndarray, np.ndarray, float]]
) -> dict[str, object]:
    """How far the alignment is off, by how far the head is turned."""
    errors: dict[str, list[float]] = {f"{low}-{high}": [] for low, high in _YAWS}
    missed = 0
    for image, truth, yaw in pictures:
        faces, _ = align_picture(image, detector)
        if not faces:
            missed += 1
            continue
        error = crop_error(faces[0].face.points, truth)
        (kind,) = [f"{low}-{high}" for low, high in _YAWS if low <= yaw < high]
        errors[kind].append(error)
    return {
        "found": 1 - missed / len(pictures),
        "error_px": {
            kind: {"mean": float(np.mean(each)), "count": len(each)}
            for kind, each in errors.items()
            if each
        },
    }


def main() -> None:
    """Measures the detectors that the flags name."""
    numbers = range(FLAGS.num_rendered)
    shown = progress(numbers, description="rendering", unit="picture")
    rendered = [loose_face(person) for person in shown]
    rows = []
    for name in FLAGS.detectors:
        detector = load_detector(name, device="cpu")
        row = {
            "detector": detector.model,
            "pictures": of_pictures(detector),
            "rendered": of_rendered(detector, rendered),
        }
        rows.append(row)
        found, loose = row["pictures"], row["rendered"]
        errors = ", ".join(
            f"{each['mean']:.2f} px at {kind}° ({each['count']})"
            for kind, each in loose["error_px"].items()
        )
        print(
            f"{name}: {found['single_found']} of 40 people, {found['extra_boxes']} "
            f"boxes besides, {min(found['on_sheets'])} to {max(found['on_sheets'])} of "
            f"16 on sheets, {found['cpu_ms_a_picture']:.0f} ms of CPU a picture; loose "
            f"faces found {loose['found']:.3f}, off by {errors}"
        )
    if FLAGS.output:
        record = {"rows": rows, "created_with": provenance(settings_of(FLAGS))}
        files.write_json(FLAGS.output, record)


if __name__ == "__main__":
    run_command(main, FLAGS)
