"""The shipped parametric head: a mesh and the linear targets that deform it."""

import functools
import pathlib

import numpy as np
import scipy.sparse

SHIPPED = pathlib.Path(__file__).with_name("head_model.npz")

SKIN, EYE, TEETH, TONGUE, HAIR = range(5)


class HeadModel:
    """A mesh of a head and neck with linear shape targets.

    Lengths are decimetres; x points to the person's left, y up, z out of the face.

    Attributes:
      template: ``[v, 3]`` float32 vertices; they double as texture coordinates.
      triangles: ``[t, 3]`` int32.
      material: ``[v]`` int8, one of ``SKIN, EYE, TEETH, TONGUE, HAIR``.
      ambient_occlusion, lips, lid_rim, ears: ``[v]`` float32 in [0, 1].
      hair: slice of the vertices of the hair surface (see
        :mod:`bridges.faces.hair_grid`); each moves with the skin vertex at its root.
      target_names: list of str such as ``shape/nose-hump-incr``.
    """

    def __init__(self, path: pathlib.Path = SHIPPED):
        with np.load(path, allow_pickle=False) as arrays:
            head, hair = arrays["template"], arrays["hair_vertices"]
            self.template = np.concatenate([head, hair])
            self.hair = slice(len(head), len(self.template))
            self.triangles = np.concatenate(
                [
                    arrays["triangles"].astype(np.int32),
                    arrays["hair_triangles"].astype(np.int32) + len(head),
                ]
            )
            hairless = np.zeros(len(hair), np.uint8)
            self.material = np.concatenate([arrays["material"], hairless + HAIR])
            self.ambient_occlusion, self.lips, self.lid_rim, self.ears = (
                np.concatenate([arrays[key] * np.float32(scale), hairless + rest])
                for key, scale, rest in (
                    ("ambient_occlusion", 1 / 255, np.float32(1)),
                    ("lips", 1 / 255, np.float32(0)),
                    ("lid_rim", 1 / 255, np.float32(0)),
                    ("ears", 1, np.float32(0)),
                )
            )
            self.target_names = [str(name) for name in arrays["target_names"]]
            targets = _dense_targets(arrays, len(head))
            # Shape targets move the hair along with the skin; expressions do not.
            still = [name.startswith("expression/") for name in self.target_names]
            carried = targets[:, arrays["hair_roots"]]
            carried[np.array(still)] = 0
            dense = np.concatenate([targets, carried], axis=1)
            # Most targets move a small part of the head: a sparse product is ten times
            # faster.
            self._targets = scipy.sparse.csc_matrix(dense.reshape(len(dense), -1).T)
        self.paint_weights = (self.ambient_occlusion, self.lips, self.lid_rim)
        self._index = {name: i for i, name in enumerate(self.target_names)}
        self.sum_to_vertices = corner_sum(self.triangles, len(self.template))
        eye = self.material == EYE
        self.left_eye = np.flatnonzero(eye & (self.template[:, 0] > 0))
        self.right_eye = np.flatnonzero(eye & (self.template[:, 0] < 0))

    def shaped(self, coefficients: dict[str, float]) -> np.ndarray:
        """Vertices ``[v, 3]`` under the given target coefficients, decimetres.

        Args:
          coefficients: weight by target name; missing names weigh 0.

        Raises:
          KeyError: a name that is no target.
        """
        return self.template + self.displacement(coefficients)

    def displacement(self, coefficients: dict[str, float]) -> np.ndarray:
        """The weighted sum of targets ``[v, 3]``, decimetres."""
        weights = np.zeros(len(self.target_names), np.float32)
        for name, weight in coefficients.items():
            weights[self._index[name]] = weight
        return (self._targets @ weights).reshape(-1, 3)

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Unit vertex normals ``[v, 3]``, area-weighted, pointing outwards."""
        return vertex_normals(vertices, self.triangles, self.sum_to_vertices)

    def nearest_skin_vertex(self, point: tuple[float, float, float]) -> int:
        """The skin vertex of the template nearest to ``point``."""
        skin = np.flatnonzero(self.material == SKIN)
        return int(skin[((self.template[skin] - point) ** 2).sum(1).argmin()])


@functools.cache
def shipped_head_model() -> HeadModel:
    """The head model that ships with the package, read once per process."""
    return HeadModel()


def corner_sum(triangles: np.ndarray, vertices: int) -> scipy.sparse.csr_matrix:
    """The sparse ``[v, t]`` matrix that sums triangle values at their corners."""
    columns = np.repeat(np.arange(len(triangles)), 3)
    ones = np.ones(triangles.size, np.float32)
    shape = (vertices, len(triangles))
    return scipy.sparse.csr_matrix((ones, (triangles.reshape(-1), columns)), shape)


def vertex_normals(
    vertices: np.ndarray,
    triangles: np.ndarray,
    sum_to_vertices: scipy.sparse.csr_matrix | None = None,
) -> np.ndarray:
    """Unit vertex normals ``[v, 3]``, area-weighted.

    Args:
      vertices: ``[v, 3]``.
      triangles: ``[t, 3]`` rows of ``vertices``.
      sum_to_vertices: :func:`corner_sum` of them, computed here if None.
    """
    if sum_to_vertices is None:
        sum_to_vertices = corner_sum(triangles, len(vertices))
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normals = sum_to_vertices @ np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / np.maximum(length, 1e-12)).astype(np.float32)


def _dense_targets(arrays, vertices: int) -> np.ndarray:
    """Expands the sparse int16 targets to a dense ``[k, v, 3]`` float32 array."""
    dense = np.zeros((len(arrays["target_counts"]), vertices, 3), np.float32)
    ends = np.cumsum(arrays["target_counts"])
    rows, steps = arrays["target_rows"], arrays["target_steps"]
    for i, (end, scale) in enumerate(zip(ends, arrays["target_scales"], strict=True)):
        part = slice(end - arrays["target_counts"][i], end)
        dense[i, rows[part]] = steps[part] * scale
    return dense
