"""Renderer of aligned face crops: geometry, camera, alignment, shading, sensor."""

import numpy as np

from bridges.alignment import ARCFACE_TEMPLATE, similarity_transform
from bridges.faces import capture as capturing
from bridges.faces import identity as identities
from bridges.faces.capture import Capture
from bridges.faces.hair_style import Hair, style_hair
from bridges.faces.head_model import HeadModel, shipped_head_model
from bridges.faces.identity import Identity
from bridges.faces.rasterizer import light_reaching, rasterize
from bridges.faces.shading import LIGHT, PAINT, shade

# Landmarks of the template head, decimetres.
_NOSE_TIP, _MOUTH_CORNER = (0.0, 6.95, 1.69), (0.262, 6.625, 1.36)
# Samples per side of a pixel: 2 gives four samples per pixel.
_SUPERSAMPLING = 2
_SHADOW_SIZE = 160


class FaceRenderer:
    """Renders aligned face crops on the CPU; the head model is its only state.

    Args:
      image_size: side of the square image, pixels; face recognition mostly uses 112.
      model: the head model; the shipped one by default.
    """

    def __init__(self, image_size: int = 112, model: HeadModel | None = None):
        self.image_size = image_size
        self.model = model or shipped_head_model()
        self._nose = self.model.nearest_skin_vertex(_NOSE_TIP)
        x, y, z = _MOUTH_CORNER
        self._left_mouth = self.model.nearest_skin_vertex((x, y, z))
        self._right_mouth = self.model.nearest_skin_vertex((-x, y, z))

    def render(self, identity: Identity, capture: Capture) -> np.ndarray:
        """Renders one photograph, aligned to the ArcFace template.

        The same arguments give the same bytes in any process and any order.

        Args:
          identity: the person.
          capture: the conditions.

        Returns:
          ``[s, s, 3]`` uint8 sRGB.
        """
        model, hair = self.model, style_hair(self.model, identity, capture.age)
        vertices = self._vertices(identity, capture) + hair.offset
        rotation = _rotation(capture)
        normals = model.normals(vertices) @ rotation.T
        screen = self._aligned(vertices, rotation, capture.distance)
        size = self.image_size * _SUPERSAMPLING
        screen[:, :2] *= size / 112
        seen, weights, _ = rasterize(screen, model.triangles, hair.cutout, size, size)
        shadow = self._shadow(vertices @ rotation.T, seen, weights, hair, capture.light)
        attributes = np.column_stack(
            [model.template, normals, *model.paint_weights, hair.roots]
        ).astype(np.float32)
        image = _background(capture, size)
        shade(
            seen,
            weights,
            shadow,
            model.triangles,
            model.material,
            attributes,
            _paint(identity, capture, hair),
            _light(capture),
            image,
        )
        return _develop(image, capture)

    def landmarks(self, identity: Identity, capture: Capture) -> np.ndarray:
        """The five landmarks in the rendered image, ``[5, 2]`` (x, y) in pixels."""
        vertices = self._vertices(identity, capture)
        screen = self._aligned(vertices, _rotation(capture), capture.distance)
        return self._five_points(screen)[:, :2] * self.image_size / 112

    def _vertices(self, identity: Identity, capture: Capture) -> np.ndarray:
        coefficients = dict(identity.shape)
        for name, weight in identities.macro_coefficients(
            identity, capture.age
        ).items():
            coefficients[name] = coefficients.get(name, 0.0) + weight
        coefficients |= capturing.expression_coefficients(
            capture.expression, capture.expression_strength
        )
        return self.model.shaped(coefficients)

    def _aligned(
        self, vertices: np.ndarray, rotation: np.ndarray, distance: float
    ) -> np.ndarray:
        """Projects the vertices and aligns them to the ArcFace template.

        Returns:
          ``[v, 3]`` float32: x, y in pixels of the 112-pixel crop, depth in decimetres.
        """
        model = self.model
        eyes = 0.5 * (
            vertices[model.left_eye].mean(0) + vertices[model.right_eye].mean(0)
        )
        mouth = vertices[[self._left_mouth, self._right_mouth]].mean(0)
        pivot = 0.6 * eyes + 0.4 * mouth - [0.0, 0.0, 0.9]
        turned = (vertices - pivot) @ rotation.T
        nearness = distance / (distance - turned[:, 2])
        screen = np.stack(
            [turned[:, 0] * nearness, -turned[:, 1] * nearness, -turned[:, 2]], axis=1
        )
        points = self._five_points(screen)[:, :2]
        scale, offset = similarity_transform(points, ARCFACE_TEMPLATE)
        screen[:, :2] = screen[:, :2] @ scale.T + offset
        return screen.astype(np.float32)

    def _five_points(self, screen: np.ndarray) -> np.ndarray:
        model = self.model
        return np.stack(
            [
                screen[model.right_eye].mean(0),
                screen[model.left_eye].mean(0),
                screen[self._nose],
                screen[self._right_mouth],
                screen[self._left_mouth],
            ]
        )

    def _shadow(
        self,
        turned: np.ndarray,
        seen: np.ndarray,
        weights: np.ndarray,
        hair: Hair,
        direction: np.ndarray,
    ) -> np.ndarray:
        """The share of the key light that reaches each sample, ``[h, w]``."""
        right = np.cross([0.0, 1.0, 0.0], direction)
        right /= np.linalg.norm(right)
        frame = np.stack([right, np.cross(direction, right), -direction], axis=1)
        local = (turned - turned[self._nose]) @ frame
        screen = local.astype(np.float32)
        screen[:, :2] = screen[:, :2] * (_SHADOW_SIZE / 4.4) + _SHADOW_SIZE / 2
        _, _, depth = rasterize(
            screen, self.model.triangles, hair.cutout, _SHADOW_SIZE, _SHADOW_SIZE
        )
        reaching = light_reaching(seen, weights, self.model.triangles, screen, depth)
        # Indirect light: full shadow keeps a quarter.
        return 0.25 + 0.75 * reaching


def _rotation(capture: Capture) -> np.ndarray:
    yaw, pitch, roll = np.deg2rad([capture.yaw, -capture.pitch, capture.roll])
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return tilt @ nod @ turn


def _paint(identity: Identity, capture: Capture, hair: Hair) -> np.record:
    paint = np.zeros(1, PAINT)[0]
    colour = identities.hair_colour(identity, capture.age)
    for name in PAINT.names:
        if name in identity.traits:
            paint[name] = identity.traits[name]
    for name in ("skin", "lip", "iris"):
        paint[name] = getattr(identity, name)
    paint["hair"] = colour
    paint["brow"] = np.minimum(colour * 0.6, 0.16)
    paint["moles"][: len(identity.moles)] = identity.moles
    paint["texture"] = np.random.default_rng(identity.texture_seed).integers(
        1 << 20, size=4
    )
    paint["curl"] = hair.curl
    paint["wrinkles"] = 0.8 * np.clip((capture.age - 30) / 40, 0, 1)
    opening = capturing.expression_coefficients(
        capture.expression, capture.expression_strength
    )
    paint["mouth_open"] = min(1.0, 4 * opening.get("expression/jawOpen", 0.0))
    return paint


def _light(capture: Capture) -> np.record:
    light = np.zeros(1, LIGHT)[0]
    light["direction"] = capture.light
    light["colour"] = capture.light_colour
    for name in ("clothing", "gaze", "key", "fill"):
        light[name] = getattr(capture, name)
    return light


def _background(capture: Capture, size: int) -> np.ndarray:
    """A vertical gradient with soft lights, ``[size, size, 3]`` float32 linear RGB."""
    side = size // _SUPERSAMPLING
    place = ((np.arange(side) + 0.5) / side).astype(np.float32)
    rows, columns = place[:, None, None], place[None, :, None]
    top, bottom = capture.background
    image = top * (1 - rows) + bottom * rows + 0 * columns
    for x, y, radius, *colour in capture.blobs:
        distance = ((columns - x) ** 2 + (rows - y) ** 2) / radius**2
        image += (np.array(colour) - image) * 0.8 * np.exp(-(distance**2))
    samples = image.astype(np.float32).repeat(_SUPERSAMPLING, 0)
    return samples.repeat(_SUPERSAMPLING, 1)


def _develop(image: np.ndarray, capture: Capture) -> np.ndarray:
    """Exposes, averages the samples, applies gamma and sensor noise, quantises."""
    # A soft shoulder, as in film and cameras, keeps highlights from clipping.
    exposed = image * capture.exposure
    exposed = np.clip(exposed / (1 + 0.18 * exposed) * 1.12, 0, 1)
    steps = [slice(k, None, _SUPERSAMPLING) for k in range(_SUPERSAMPLING)]
    total = sum(exposed[rows, columns] for rows in steps for columns in steps)
    pixels = (total / _SUPERSAMPLING**2) ** np.float32(1 / 2.2)
    if capture.noise > 0:
        generator = np.random.default_rng(capture.noise_seed)
        pixels = pixels + capture.noise * generator.standard_normal(
            pixels.shape, np.float32
        )
    return (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
