# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Furniture; each is a function rng -> mesh that stands on z = 0 around the origin.

The back is towards +y, so that it can be put against a wall; the front looks to -y.
"""

from __future__ import annotations

from mvreg_ros.simulate.clutter import dents, lamp, monitor, scattered
from mvreg_ros.simulate.meshes import box, cylinder, merge, Mesh, revolved, sheet, superquadric
import numpy as np


def _legs(width: float, depth: float, height: float, side: float) -> list[Mesh]:
    reach = (width / 2 - side, depth / 2 - side)
    return [
        box((side, side, height), (x, y, height / 2))
        for x in (-reach[0], reach[0]) for y in (-reach[1], reach[1])
    ]


def table(rng: np.random.Generator) -> Mesh:
    """Return a table with four legs or one, and things on it."""
    width, depth, height = rng.uniform(0.8, 1.6), rng.uniform(0.6, 0.9), rng.uniform(0.68, 0.78)
    top = rng.uniform(0.02, 0.05)
    if rng.random() < 0.25:
        radius = depth * 0.6
        plate = cylinder(radius, top).moved((0, 0, height - top))
        parts = [plate, cylinder(0.05, height), cylinder(radius * 0.6, 0.03)]
        width = depth = radius * 1.3
    else:
        parts = [box((width, depth, top), (0, 0, height - top / 2))]
        parts += _legs(width, depth, height, rng.uniform(0.04, 0.08))
    parts += scattered(rng, int(rng.integers(2, 8)), (width, depth), height)
    return merge(parts)


def low_table(rng: np.random.Generator) -> Mesh:
    """Return a coffee table."""
    width, depth, height = rng.uniform(0.6, 1.1), rng.uniform(0.45, 0.6), rng.uniform(0.35, 0.45)
    parts = [box((width, depth, 0.04), (0, 0, height)), *_legs(width, depth, height, 0.05)]
    parts.append(box((width - 0.1, depth - 0.1, 0.02), (0, 0, 0.15)))
    return merge([*parts, *scattered(rng, int(rng.integers(1, 5)), (width, depth), height + 0.02)])


def desk(rng: np.random.Generator) -> Mesh:
    """Return a desk with a chest of drawers below, a screen, a lamp and clutter."""
    width, depth, height = rng.uniform(1.1, 1.7), rng.uniform(0.6, 0.8), rng.uniform(0.7, 0.76)
    side = rng.choice([-1, 1])
    parts = [box((width, depth, 0.03), (0, 0, height - 0.015)), *_legs(width, depth, height, 0.05)]
    parts.append(box((0.4, depth - 0.1, height - 0.1), (side * (width / 2 - 0.25), 0, height / 2)))
    for z in (0.2, 0.4, 0.6):
        parts.append(box((0.14, 0.06, 0.02), (side * (width / 2 - 0.25), 0.06 - depth / 2, z)))
    screen_x = rng.uniform(-0.2, 0.2) * width
    parts.append(monitor(rng).moved((screen_x, depth / 4, height), rng.normal(0, 0.3)))
    parts.append(box((0.45, 0.15, 0.03), (screen_x, -depth / 5, height + 0.015)))
    if rng.random() < 0.5:
        parts.append(lamp(rng).moved((-side * (width / 2 - 0.2), depth / 4, height)))
    return merge([*parts, *scattered(rng, int(rng.integers(1, 6)), (width, depth), height)])


def chair(rng: np.random.Generator) -> Mesh:
    """Return a wooden chair with a leaning back of a board or of bars."""
    width, depth, seat = rng.uniform(0.38, 0.5), rng.uniform(0.38, 0.48), rng.uniform(0.42, 0.48)
    back = rng.uniform(0.4, 0.55)
    parts = [box((width, depth, 0.04), (0, 0, seat)), *_legs(width, depth, seat, 0.035)]
    if rng.random() < 0.5:
        rest = [box((width, 0.03, back), (0, 0, back / 2))]
    else:
        bars = np.linspace(-width / 2 + 0.02, width / 2 - 0.02, int(rng.integers(3, 6)))
        rest = [box((0.03, 0.03, back), (x, 0, back / 2)) for x in bars]
        rest.append(box((width, 0.03, 0.1), (0, 0, back)))
    lean = merge(rest).rotated('x', -rng.uniform(0.0, 0.2))
    return merge([*parts, lean.moved((0, depth / 2 - 0.02, seat))])


def office_chair(rng: np.random.Generator) -> Mesh:
    """Return a swivel chair on five castors, turned any way."""
    width, seat, back = rng.uniform(0.44, 0.52), rng.uniform(0.42, 0.52), rng.uniform(0.4, 0.6)
    parts = [superquadric((width / 2, width / 2, 0.05), 0.4).moved((0, 0, seat))]
    parts.append(cylinder(0.03, seat))
    for angle in np.arange(5) * 2 * np.pi / 5:
        castor = cylinder(0.03, 0.06).moved((0.28, 0, 0))
        spoke = merge([box((0.28, 0.05, 0.04), (0.14, 0, 0.08)), castor])
        parts.append(spoke.moved((0, 0, 0), angle))
    rest = superquadric((width / 2, 0.04, back / 2), 0.5)
    curve = np.array([0, 1.0, 0]) * -(rest.vertices[:, :1] ** 2)
    rest = Mesh(rest.vertices + curve, rest.faces)
    parts.append(rest.moved((0, width / 2, seat + 0.12 + back / 2)))
    parts.append(box((0.08, 0.03, 0.3), (0, width / 2 + 0.03, seat + 0.1)))
    if rng.random() < 0.6:
        for x in (-width / 2, width / 2):
            parts.append(box((0.05, 0.26, 0.03), (x, 0, seat + 0.22)))
            parts.append(box((0.03, 0.03, 0.22), (x, 0.05, seat + 0.11)))
    return merge(parts).moved((0, 0, 0), rng.uniform(0, 2 * np.pi))


def shelf(rng: np.random.Generator) -> Mesh:
    """Return an open shelf with rows of books and small things."""
    width, depth, height = rng.uniform(0.6, 1.5), rng.uniform(0.24, 0.38), rng.uniform(0.8, 2.1)
    parts = [box((0.02, depth, height), (x, 0, height / 2)) for x in (-width / 2, width / 2)]
    parts.append(box((width, 0.015, height), (0, depth / 2, height / 2)))
    board = 0.06
    while board < height:
        step = rng.uniform(0.26, 0.42)
        parts.append(box((width, depth, 0.02), (0, 0, board)))
        if rng.random() < 0.6:
            parts += [book.moved((0, 0, board + 0.01)) for book in _books(rng, width, depth, step)]
        else:
            count = int(rng.integers(1, 5))
            parts += scattered(rng, count, (width - 0.1, depth), board + 0.01, step * 0.7)
        board += step
    return merge(parts)


def _books(rng: np.random.Generator, width: float, depth: float, room: float) -> list[Mesh]:
    """Return a row of books no taller than `room`, with gaps, some leaning."""
    books, x = [], -width / 2 + 0.03
    while x < width / 2 - 0.09:
        size = (rng.uniform(0.015, 0.055), rng.uniform(0.6, 0.95) * depth,
                min(rng.uniform(0.16, 0.32), room - 0.05))
        if rng.random() < 0.12:
            x += rng.uniform(0.05, 0.3)
            continue
        lean = rng.choice([0, 0, 0, 0.15])
        centre = (x + size[0] / 2, (depth - size[1]) / 2 - 0.02, size[2] / 2)
        books.append(box(size).rotated('y', -lean).moved(centre))
        x += size[0] + lean * size[2]
    return books


def counter(rng: np.random.Generator) -> Mesh:
    """Return kitchen base units with a worktop, a tap and cupboards on the wall above."""
    width, depth, height = rng.uniform(1.2, 2.4), 0.58, rng.uniform(0.84, 0.92)
    parts = [_fronts(rng, width, depth, height, columns=round(width / 0.55), rows=1)]
    parts.append(box((width + 0.02, depth + 0.03, 0.04), (0, -0.01, height + 0.02)))
    tap_x = rng.uniform(-0.3, 0.3) * width
    parts.append(box((0.45, 0.38, 0.02), (tap_x, -0.02, height + 0.04)))
    parts.append(cylinder(0.02, 0.28).moved((tap_x, 0.2, height)))
    parts.append(box((0.03, 0.2, 0.03), (tap_x, 0.11, height + 0.28)))
    upper = rng.uniform(0.5, 1.0) * width
    cupboards = _fronts(rng, upper, 0.32, 0.6, columns=max(1, round(upper / 0.5)), rows=1)
    shift = rng.choice([-1, 1]) * (width - upper) / 2
    parts.append(cupboards.moved((shift, depth / 2 - 0.17, height + 0.5)))
    parts += scattered(rng, int(rng.integers(3, 9)), (width, 0.4), height + 0.04, 0.3)
    return merge(parts)


def cabinet(rng: np.random.Generator) -> Mesh:
    """Return a sideboard or chest of drawers with things on it."""
    width, depth, height = rng.uniform(0.6, 1.5), rng.uniform(0.36, 0.48), rng.uniform(0.5, 1.1)
    rows = int(rng.integers(1, 4))
    body = _fronts(rng, width, depth, height, columns=max(1, round(width / 0.6)), rows=rows)
    things = scattered(rng, int(rng.integers(1, 6)), (width, depth), height)
    if rng.random() < 0.4:
        things.append(lamp(rng).moved((rng.uniform(-0.3, 0.3) * width, 0.05, height)))
    return merge([body, *things])


def wardrobe(rng: np.random.Generator) -> Mesh:
    """Return a tall wardrobe, with boxes on top."""
    width, depth, height = rng.uniform(0.9, 1.9), rng.uniform(0.52, 0.62), rng.uniform(1.8, 2.1)
    body = _fronts(rng, width, depth, height, columns=round(width / 0.5), rows=1)
    return merge([body, *scattered(rng, int(rng.integers(0, 3)), (width, depth), height, 0.25)])


def _fronts(
    rng: np.random.Generator, width: float, depth: float, height: float, columns: int, rows: int,
) -> Mesh:
    """Return a closed body with a plinth and a grid of doors or drawers, some ajar."""
    parts = [box((width, depth, height - 0.08), (0, 0, 0.04 + height / 2))]
    parts.append(box((width, depth - 0.06, 0.08), (0, 0.03, 0.04)))
    door_width, door_height = width / columns - 0.012, (height - 0.1) / rows - 0.012
    handle = (0.14, 0.04, 0.02) if rows > 1 else (0.02, 0.04, 0.16)
    for column in range(columns):
        for row in range(rows):
            left = (column / columns - 0.5) * width + 0.006
            z = 0.09 + (row + 0.5) * (height - 0.1) / rows
            grip_x = door_width * (0.5 if rows > 1 else 0.88)
            grip = box(handle, (grip_x, -0.035, 0.0))
            front = merge([box((door_width, 0.02, door_height), (door_width / 2, 0, 0)), grip])
            ajar = rng.uniform(0.2, 1.2) if rng.random() < 0.06 and rows == 1 else 0.0
            parts.append(front.moved((left, -depth / 2 - 0.01, z), -ajar))
    return merge(parts)


def sofa(rng: np.random.Generator) -> Mesh:
    """Return an armchair or a sofa with cushions."""
    seats = int(rng.integers(1, 4))
    width, depth, seat = 0.3 + 0.62 * seats, rng.uniform(0.75, 0.9), rng.uniform(0.36, 0.44)
    round_by = rng.uniform(0.2, 0.45)
    parts = [superquadric((width / 2, depth / 2, seat / 2), round_by).moved((0, 0, seat / 2))]
    back = superquadric((width / 2, 0.12, 0.3), round_by)
    parts.append(back.moved((0, depth / 2 - 0.12, seat + 0.12)))
    for x in (-width / 2 + 0.09, width / 2 - 0.09):
        arm = superquadric((0.09, depth / 2, 0.3), round_by)
        parts.append(arm.moved((x, 0, 0.3)))
    for k in range(seats):
        x = (k - (seats - 1) / 2) * 0.62
        cushion = superquadric((0.3, depth * 0.36, 0.08), 0.35, dents(rng, 0.03))
        parts.append(cushion.moved((x, -0.08, seat + 0.04)))
    for _ in range(rng.integers(0, 4)):
        pillow = superquadric((0.2, 0.07, 0.19), 0.7, dents(rng, 0.08))
        place = (rng.uniform(-0.35, 0.35) * width, depth / 4, seat + 0.25)
        parts.append(pillow.rotated('zxy', rng.normal(0, 0.3, 3)).moved(place))
    return merge(parts)


def bed(rng: np.random.Generator) -> Mesh:
    """Return a bed with its long side to the wall, a rumpled blanket and pillows."""
    length, depth, height = 2.0, rng.uniform(0.9, 1.4), rng.uniform(0.38, 0.52)
    x, y = np.meshgrid(np.linspace(-length / 2, length * 0.3, 40),
                       np.linspace(-depth / 2 - 0.04, depth / 2, 30))
    waves = rng.normal(0, 4, (6, 2))
    rumple = sum(np.sin(a * x + b * y + k) for k, (a, b) in enumerate(waves)) * 0.012
    hang = np.clip(0.1 - (y + depth / 2 + 0.04), 0, 0.1) * rng.uniform(1, 2.5)
    parts = [
        box((length, depth, height * 0.55), (0, 0, height * 0.5)),
        superquadric((length / 2, depth / 2, 0.1), 0.15).moved((0, 0, height - 0.04)),
        sheet(x, y, height + 0.1 + rumple - hang),
        box((0.05, depth, height + 0.45), (length / 2, 0, (height + 0.45) / 2)),
        *_legs(length, depth, height * 0.5, 0.08),
    ]
    for y_pillow in (-depth / 4, depth / 4) if depth > 1.2 else (0,):
        pillow = superquadric((0.2, 0.3, 0.09), 0.7, dents(rng, 0.06))
        place = (length / 2 - 0.3, y_pillow, height + 0.12)
        parts.append(pillow.moved(place, rng.normal(0, 0.2)))
    return merge(parts)


def plant(rng: np.random.Generator) -> Mesh:
    """Return a potted plant with broad leaves."""
    radius, pot = rng.uniform(0.12, 0.2), rng.uniform(0.2, 0.35)
    stem = rng.uniform(0.4, 0.9)
    parts = [revolved([0, radius * 0.7, radius, radius * 0.9, 0], [0, 0, pot, pot, pot - 0.03])]
    parts.append(cylinder(0.02, pot + stem))
    for _ in range(rng.integers(12, 30)):
        length = rng.uniform(0.15, 0.35)
        leaf = superquadric((length / 2, length * rng.uniform(0.12, 0.3), 0.008), 1.0)
        angles = (rng.normal(0, 0.4), rng.uniform(-1.2, 0.3), rng.uniform(0, 2 * np.pi))
        leaf = leaf.moved((length * 0.6, 0, 0)).rotated('xyz', angles)
        parts.append(leaf.moved((0, 0, pot + rng.uniform(0.1, 1.0) * stem)))
    return merge(parts)


def floor_lamp(rng: np.random.Generator) -> Mesh:
    """Return a standing lamp."""
    height, shade = rng.uniform(1.4, 1.7), rng.uniform(0.15, 0.22)
    top = cylinder(shade, 0.28, shade * rng.uniform(0.5, 1.0)).moved((0, 0, height - 0.2))
    return merge([cylinder(0.15, 0.03), cylinder(0.015, height), top])


def heap(rng: np.random.Generator) -> Mesh:
    """Return a few boxes, bags and bins that stand together on the floor."""
    return merge(scattered(rng, int(rng.integers(2, 6)), (0.6, 0.6), 0.0))
