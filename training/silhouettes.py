"""Occluder shapes for synthetic shadows, as signed distance fields.

Every family is a function `(rng, grid) -> distance`: float32[H, W], negative inside the occluder, in units of the
longer image side. A distance field gives a penumbra of any width for free, and unions are minima. Families cover
what throws shadows in photographs: hands and arms, people, foliage, buildings, poles and fences, and anything
(smooth blobs). `FAMILIES` holds each with its share of the draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Pixel-centre coordinates in units of the longer side, origin in the middle of the image."""

    x: Field
    y: Field

    @staticmethod
    def of(height: int, width: int) -> Grid:
        side = max(height, width)
        x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / side
        y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / side
        columns, rows = np.meshgrid(x, y)
        return Grid(columns.astype(np.float32), rows.astype(np.float32))

    def warped(self, rng: np.random.Generator, amplitude: float, cells: int) -> Grid:
        """The grid displaced by smooth noise: turns a clean outline into an organic one."""
        shape = self.x.shape
        return Grid(
            self.x + amplitude * smooth_noise(rng, shape, cells),
            self.y + amplitude * smooth_noise(rng, shape, cells),
        )


Family = Callable[[np.random.Generator, Grid], Field]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> Field:
    """Value noise in [-1, 1] with about `cells` bumps along the longer side; cubic interpolation of a lattice."""
    height, width = shape
    side = max(height, width)
    lattice = rng.uniform(-1, 1, (cells + 4, cells + 4)).astype(np.float32)
    rows, columns = (_cubic_weights(n, side, cells) for n in (height, width))
    return np.clip(rows @ lattice @ columns.T, -1, 1)


def _cubic_weights(length: int, side: int, cells: int) -> Field:
    """[length, cells + 4] matrix of uniform cubic B-spline weights, scaled to keep the noise's contrast."""
    position = (np.arange(length, dtype=np.float32) + 0.5) / side * cells
    base = np.floor(position).astype(np.int64)
    f = position - base
    weights = np.zeros((length, cells + 4), np.float32)
    index = np.arange(length)
    for k, w in enumerate(((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)):
        weights[index, base + k] = w / 6
    return weights * np.float32(1.45)


def capsule(grid: Grid, ax: float, ay: float, bx: float, by: float, ra: float, rb: float) -> Field:
    """Distance to a limb from a to b whose radius goes from `ra` to `rb`."""
    dx, dy = bx - ax, by - ay
    length2 = dx * dx + dy * dy + 1e-9
    along = np.clip(((grid.x - ax) * dx + (grid.y - ay) * dy) / length2, 0, 1)
    distance = np.hypot(grid.x - ax - along * dx, grid.y - ay - along * dy)
    return (distance - (ra + (rb - ra) * along)).astype(np.float32)


def half_plane(grid: Grid, angle: float, offset: float) -> Field:
    """Distance to the half plane below a straight edge."""
    return (grid.x * np.cos(angle) + grid.y * np.sin(angle) - offset).astype(np.float32)


def box(grid: Grid, cx: float, cy: float, half_w: float, half_h: float, angle: float) -> Field:
    """Distance to a rotated rectangle."""
    c, s = np.cos(angle), np.sin(angle)
    u = np.abs((grid.x - cx) * c + (grid.y - cy) * s) - half_w
    v = np.abs((grid.y - cy) * c - (grid.x - cx) * s) - half_h
    outside = np.hypot(np.maximum(u, 0), np.maximum(v, 0))
    return (outside + np.minimum(np.maximum(u, v), 0)).astype(np.float32)


def smooth_union(a: Field, b: Field, radius: float) -> Field:
    """Union with a rounded joint (polynomial smooth minimum)."""
    h = np.clip(0.5 + 0.5 * (b - a) / radius, 0, 1)
    return (b + (a - b) * h - radius * h * (1 - h)).astype(np.float32)


def _place(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.35, 0.35))


def blob(rng: np.random.Generator, grid: Grid) -> Field:
    """Anything: a level set of smooth noise."""
    cells = int(rng.integers(2, 6))
    noise = smooth_noise(rng, grid.x.shape, cells)
    if rng.random() < 0.5:
        noise = noise + 0.35 * smooth_noise(rng, grid.x.shape, cells * 3)
    level = np.quantile(noise, rng.uniform(0.1, 0.5))
    # dividing by a typical gradient turns noise into something close to a distance
    return ((noise - level) / (3.0 * cells)).astype(np.float32)


def hand(rng: np.random.Generator, grid: Grid) -> Field:
    """A palm with fingers, more or less bent, on an arm that leaves the picture."""
    cx, cy = _place(rng)
    size = float(np.exp(rng.uniform(np.log(0.07), np.log(0.35))))
    toward = float(rng.uniform(0, 2 * np.pi))
    ax, ay = np.cos(toward), np.sin(toward)
    grid = grid.warped(rng, 0.12 * size, 7)
    shape = capsule(grid, cx, cy, cx + 0.4 * size * ax, cy + 0.4 * size * ay, 0.55 * size, 0.5 * size)
    arm = float(rng.uniform(0.25, 0.45)) * size
    bend = toward + float(rng.uniform(-0.5, 0.5))
    end = (cx - 2.5 * np.cos(bend), cy - 2.5 * np.sin(bend))
    shape = smooth_union(shape, capsule(grid, cx, cy, *end, arm, arm + float(rng.uniform(0, 0.3))), 0.2 * size)
    reach = float(rng.uniform(0.1, 1.0))  # 0 = fist
    for finger in np.linspace(-0.9, 0.9, int(rng.integers(3, 6))):
        angle = toward + finger * float(rng.uniform(0.3, 1.0))
        length = size * (0.5 + reach * float(rng.uniform(0.5, 1.1)))
        bx, by = cx + size * 0.35 * np.cos(angle), cy + size * 0.35 * np.sin(angle)
        tip = (bx + length * np.cos(angle), by + length * np.sin(angle))
        shape = smooth_union(shape, capsule(grid, bx, by, *tip, 0.16 * size, 0.11 * size), 0.08 * size)
    return shape


def person(rng: np.random.Generator, grid: Grid) -> Field:
    """A standing figure, stretched and leaning as on the ground under a low sun."""
    cx, cy = _place(rng)
    lean, stretch = float(rng.uniform(-1.2, 1.2)), float(rng.uniform(0.8, 2.2))
    turn = float(rng.uniform(0, 2 * np.pi))
    scale = float(np.exp(rng.uniform(np.log(0.14), np.log(0.8))))
    c, s = np.cos(turn), np.sin(turn)
    u = ((grid.x - cx) * c + (grid.y - cy) * s) / scale
    v = ((grid.y - cy) * c - (grid.x - cx) * s) / (scale * stretch)
    body = Grid((u - lean * v).astype(np.float32), v.astype(np.float32)).warped(rng, 0.04, 6)
    spread = float(rng.uniform(0.05, 0.25))
    shape = capsule(body, 0, -0.1, 0, 0.5, 0.22, 0.17)
    shape = smooth_union(shape, capsule(body, 0, -0.55, 0, -0.5, 0.13, 0.13), 0.06)
    for side in (-1.0, 1.0):
        leg = capsule(body, side * 0.1, 0.5, side * spread, 1.4, 0.11, 0.08)
        elbow = (side * float(rng.uniform(0.25, 0.6)), float(rng.uniform(-0.3, 0.4)))
        arm = capsule(body, side * 0.18, -0.2, *elbow, 0.08, 0.07)
        fore = capsule(body, *elbow, elbow[0] + float(rng.uniform(-0.3, 0.3)), elbow[1] + 0.35, 0.07, 0.05)
        for limb in (leg, arm, fore):
            shape = smooth_union(shape, limb, 0.05)
    return (shape * scale * min(1.0, stretch)).astype(np.float32)


def foliage(rng: np.random.Generator, grid: Grid) -> Field:
    """Twigs with leaves or needles: many small shapes, as a tree throws them."""
    shape = np.full(grid.x.shape, 1.0, np.float32)
    leaf = float(rng.uniform(0.012, 0.05))
    slim = float(rng.uniform(0.12, 0.5))
    for _ in range(int(rng.integers(2, 6))):
        x, y = float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.6, 0.6))
        angle = float(rng.uniform(0, 2 * np.pi))
        pace = leaf * float(rng.uniform(0.8, 1.8))
        for step in range(int(rng.integers(6, 16))):
            nx, ny = x + pace * np.cos(angle), y + pace * np.sin(angle)
            _stamp(shape, grid, x, y, nx, ny, 0.1 * leaf, 0.1 * leaf)
            out = angle + (1 if step % 2 else -1) * float(rng.uniform(0.5, 1.2))
            tip = (nx + leaf * np.cos(out), ny + leaf * np.sin(out))
            _stamp(shape, grid, nx, ny, *tip, slim * leaf, 0.3 * slim * leaf)
            x, y, angle = nx, ny, angle + float(rng.uniform(-0.25, 0.25))
    return shape


def canopy(rng: np.random.Generator, grid: Grid) -> Field:
    """Dappled light under a tree: noise of several scales with light falling through the gaps."""
    cells = int(rng.integers(5, 12))
    noise = smooth_noise(rng, grid.x.shape, cells) + 0.6 * smooth_noise(rng, grid.x.shape, 2 * cells)
    noise = noise + 1.2 * smooth_noise(rng, grid.x.shape, 2)
    return ((noise - np.quantile(noise, rng.uniform(0.3, 0.7))) / (4.0 * cells)).astype(np.float32)


def _stamp(shape: Field, grid: Grid, ax: float, ay: float, bx: float, by: float, ra: float, rb: float) -> None:
    """Unite one small capsule into `shape` in place, computing only the window it can reach."""
    margin = 0.06 + max(ra, rb)
    columns = np.searchsorted(grid.x[0], (min(ax, bx) - margin, max(ax, bx) + margin))
    rows = np.searchsorted(grid.y[:, 0], (min(ay, by) - margin, max(ay, by) + margin))
    window = (slice(*rows), slice(*columns))
    part = capsule(Grid(grid.x[window], grid.y[window]), ax, ay, bx, by, ra, rb)
    np.minimum(shape[window], part, out=shape[window])


def building(rng: np.random.Generator, grid: Grid) -> Field:
    """A straight edge, a corner or a skyline of blocks."""
    angle = float(rng.uniform(0, 2 * np.pi))
    edge = half_plane(grid, angle, float(rng.uniform(-0.35, 0.25)))
    kind = rng.random()
    if kind < 0.4:
        return edge
    if kind < 0.7:
        other = half_plane(
            grid, angle + float(rng.uniform(0.6, 2.2)) * rng.choice((-1, 1)), float(rng.uniform(-0.3, 0.4))
        )
        return np.maximum(edge, other)
    c, s = np.cos(angle), np.sin(angle)
    for _ in range(int(rng.integers(2, 6))):
        along, out = float(rng.uniform(-0.6, 0.6)), float(rng.uniform(0.0, 0.35))
        part = box(
            grid,
            along * -s + out * c * 0.5,
            along * c + out * s * 0.5,
            out,
            float(rng.uniform(0.03, 0.15)),
            angle,
        )
        edge = np.minimum(edge, part)
    return edge


def bars(rng: np.random.Generator, grid: Grid) -> Field:
    """Poles, a fence or a blind: one to several parallel strips."""
    angle = float(rng.uniform(0, np.pi))
    half = float(rng.uniform(0.008, 0.07))
    count = int(rng.choice((1, 1, 1, 2, 3, 6)))
    pitch = half * float(rng.uniform(2.5, 6))
    grid = grid.warped(rng, float(rng.uniform(0, 0.01)), 3)
    across = grid.x * np.cos(angle) + grid.y * np.sin(angle) - float(rng.uniform(-0.3, 0.3))
    nearest = np.clip(np.round(across / pitch), -(count // 2), (count - 1) // 2)
    shape = np.abs(across - nearest * pitch) - half
    if rng.random() < 0.5:  # ends inside the picture
        shape = np.maximum(shape, half_plane(grid, angle + np.pi / 2, float(rng.uniform(-0.2, 0.3))))
    return shape.astype(np.float32)


def object_(rng: np.random.Generator, grid: Grid) -> Field:
    """A thing: a few rounded parts joined together, an ellipse or a lamp, say."""
    cx, cy = _place(rng)
    size = float(np.exp(rng.uniform(np.log(0.06), np.log(0.4))))
    grid = grid.warped(rng, 0.15 * size, int(rng.integers(4, 9)))
    shape: Field | None = None
    for _ in range(int(rng.integers(1, 5))):
        ax, ay = cx + float(rng.normal(0, size)), cy + float(rng.normal(0, size))
        bx, by = cx + float(rng.normal(0, size)), cy + float(rng.normal(0, size))
        radii = rng.uniform(0.2, 0.9, 2) * size
        part = capsule(grid, ax, ay, bx, by, float(radii[0]), float(radii[1]))
        if rng.random() < 0.3:
            part = box(grid, ax, ay, float(radii[0]), float(radii[1]), float(rng.uniform(0, np.pi)))
        shape = part if shape is None else smooth_union(shape, part, 0.2 * size)
    assert shape is not None
    return shape


FAMILIES: tuple[tuple[Family, float], ...] = (
    (blob, 0.14),
    (hand, 0.18),
    (person, 0.15),
    (foliage, 0.08),
    (canopy, 0.05),
    (building, 0.18),
    (bars, 0.08),
    (object_, 0.14),
)


def draw(rng: np.random.Generator, grid: Grid) -> Field:
    """A random occluder that covers between 1 % and 85 % of the picture."""
    shares = np.array([share for _, share in FAMILIES])
    for _ in range(8):
        family = FAMILIES[int(rng.choice(len(FAMILIES), p=shares / shares.sum()))][0]
        distance = family(rng, grid)
        if 0.01 < float((distance < 0).mean()) < 0.85:
            return distance
    return half_plane(grid, float(rng.uniform(0, 2 * np.pi)), 0.0)
