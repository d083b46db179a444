"""A small data set of people whose attributes their images show."""

import pathlib

import numpy as np

from bridges.datasets.image_dataset import ImageDatasetWriter

EXPRESSIONS = ("grin", "neutral", "sad")


def write_attributed(folder: pathlib.Path, *, missing: bool = False) -> None:
    """Six people, eight images each, whose colours tell yaw, age and gender.

    Args:
      folder: to write.
      missing: leave yaw and age out of every third record, and of every fourth the
        expression and the group.
    """
    rng = np.random.default_rng(0)
    ramp = np.linspace(-1, 1, 32)
    with ImageDatasetWriter(folder, settings={}, kind="rendered") as writer:
        for i in range(48):
            person, age = i // 8, rng.uniform(20, 60)
            yaw = rng.uniform(-50, 50)
            pixels = 127.5 + rng.normal(size=(32, 32, 3)) * 8
            # Brighter on the side that the face looks to; redder the older; men bluer.
            pixels += yaw * ramp[None, :, None]
            pixels[:, :, 0] += age - 40
            pixels[:, :, 2] += 40 * (person % 2) - 20
            pixels[:16, :, 1] += 15 * person - 40
            record = {"identity": person, "index": i % 8, "seed": 0}
            if not (missing and i % 3 == 0):
                record |= {"yaw": round(yaw, 1), "pitch": float(i % 5), "roll": 0.0}
                record["age"] = round(age, 1)
            if not (missing and i % 4 == 0):
                record["expression"] = EXPRESSIONS[i % 3]
                record["group"] = f"group {'abc'[person % 3]}"
            record["gender"] = [0.04, 0.96][person % 2]
            writer.write(pixels.clip(0, 255).astype(np.uint8), record)
        writer.finish()
