"""Draws one warehouse bin: a fabric compartment with 1-5 items, elastic bands and tape across its front.

Pillow only: the demo data must be quick to draw on a machine that has nothing else yet. All sizes are
fractions of the picture's side, so that a picture of any size shows the same bin.
"""

import functools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

COUNTS = (1, 2, 3, 4, 5)  # items in a bin: the classes

Colour = tuple[int, int, int]
Point = tuple[float, float]

_SUPERSAMPLING = 1.35  # drawn larger, then reduced: ImageDraw draws no smooth edges
_VISIBLE_FRACTION = 0.35  # of each item's area at least, before the bands: what is hidden cannot be counted
_LAYOUTS_TRIED = 40
_SHADOW = [round(alpha * 0.55) for alpha in range(256)]  # by the alpha of what casts it
_SOLID = [255 if alpha > 127 else 0 for alpha in range(256)]

_FABRIC: tuple[Colour, ...] = ((202, 182, 96), (190, 170, 100), (176, 158, 112), (208, 190, 120))
_PRODUCT: tuple[Colour, ...] = (
    (186, 148, 104), (170, 128, 88), (228, 226, 220), (52, 54, 60), (36, 84, 148), (70, 140, 190),
    (176, 44, 44), (214, 96, 40), (40, 116, 76), (120, 168, 84), (112, 72, 132), (220, 180, 60),
)  # fmt: skip
_WORDS = (
    "KETTLE",
    "NOVA",
    "Tea",
    "LUMEN",
    "Atlas",
    "PRO 9",
    "cocoa",
    "ZEST",
    "Mini",
    "USB-C",
    "SOAP",
    "Kids",
)


@dataclass(frozen=True, kw_only=True)
class Product:
    """How an item looks; several items of a bin may be the same product."""

    shape: str  # a name in SHAPES
    width: float  # of the side
    height: float  # of the side
    colour: Colour
    accent: Colour
    word: str
    variant: int  # seeds what the shape leaves open


def draw_bin(*, count: int, side: int, seed: str) -> Image.Image:
    """An RGB picture of a bin with `count` items (1-5), side x side pixels; set by its arguments alone."""
    rng = random.Random(seed)  # noqa: S311  a picture, not a secret
    canvas_side = round(side * _SUPERSAMPLING)
    canvas = _compartment(rng, canvas_side)
    _place_items(rng, canvas, count)
    _front(rng, canvas)
    return _photograph(rng, canvas, side)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (max(0, min(255, round(channel * factor))) for channel in colour)
    return red, green, blue


@functools.cache
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(6, pixels))


def _compartment(rng: random.Random, side: int) -> Image.Image:
    """The empty bin: back wall, side walls, floor, folds of the fabric."""
    fabric = _shade(rng.choice(_FABRIC), rng.uniform(0.85, 1.1))
    canvas = Image.new("RGB", (side, side), _shade(fabric, 0.72))
    draw = ImageDraw.Draw(canvas)
    left, right = rng.uniform(0.04, 0.12) * side, (1 - rng.uniform(0.04, 0.12)) * side
    top, floor = rng.uniform(0.05, 0.12) * side, rng.uniform(0.74, 0.8) * side
    draw.polygon([(0, 0), (left, top), (left, floor), (0, side)], fill=_shade(fabric, rng.uniform(0.5, 0.7)))
    draw.polygon(
        [(side, 0), (right, top), (right, floor), (side, side)], fill=_shade(fabric, rng.uniform(0.5, 0.7))
    )
    draw.polygon([(0, 0), (side, 0), (right, top), (left, top)], fill=_shade(fabric, 0.45))
    draw.polygon([(0, side), (side, side), (right, floor), (left, floor)], fill=_shade(fabric, 0.9))
    for _ in range(rng.randint(2, 5)):
        x = rng.uniform(left, right)
        fold = [(x, top), (x + rng.uniform(-0.06, 0.06) * side, floor)]
        draw.line(fold, fill=_shade(fabric, rng.uniform(0.6, 0.82)), width=rng.randint(1, max(2, side // 60)))
    return canvas


def _place_items(rng: random.Random, canvas: Image.Image, count: int) -> None:
    """Put `count` items on the floor, some before or on one another, each of them still to be seen."""
    side = canvas.width
    products = _products(rng, count)
    for attempt in range(_LAYOUTS_TRIED):
        # Items shrink a little with each layout that hides one, so that the last ones always fit.
        scale = 1 - 0.6 * attempt / _LAYOUTS_TRIED
        tiles = [_tile(rng, product, side, scale) for product in products]
        places = _layout(rng, tiles, side)
        if _least_visible(tiles, places, side) >= _VISIBLE_FRACTION:
            break
    for tile, place in zip(tiles, places, strict=True):
        _paste_with_shadow(canvas, tile, place)


def _products(rng: random.Random, count: int) -> list[Product]:
    # Few items may be large and many may be small: the filled area alone must not give the count away.
    largest = {1: 0.52, 2: 0.44, 3: 0.37, 4: 0.32, 5: 0.28}[count]
    products: list[Product] = []
    for _ in range(count):
        if products and rng.random() < 0.3:
            products.append(products[-1])
            continue
        shape = rng.choice(list(SHAPES))
        width = rng.uniform(0.16, largest)
        height = rng.uniform(0.24, 0.52)
        if shape == "bottle":
            width, height = min(width, 0.24), max(height, width * 1.6)
        elif shape == "book":
            width = rng.uniform(0.08, 0.16)
        colour, accent = rng.sample(_PRODUCT, 2)
        products.append(
            Product(
                shape=shape,
                width=width,
                height=min(height, 0.58),
                colour=_shade(colour, rng.uniform(0.8, 1.15)),
                accent=accent,
                word=rng.choice(_WORDS),
                variant=rng.getrandbits(32),
            )
        )
    return products


def _tile(rng: random.Random, product: Product, side: int, scale: float) -> Image.Image:
    """The item alone, RGBA, leaning a little."""
    size = (max(8, round(product.width * scale * side)), max(8, round(product.height * scale * side)))
    tile = Image.new("RGBA", size, (0, 0, 0, 0))
    details = random.Random(product.variant)  # noqa: S311  a picture, not a secret
    SHAPES[product.shape](details, ImageDraw.Draw(tile), size, product)
    lean = rng.gauss(0, 4) if rng.random() < 0.75 else rng.uniform(-28, 28)
    return tile.rotate(lean, Image.Resampling.BILINEAR, expand=True)


def _layout(rng: random.Random, tiles: list[Image.Image], side: int) -> list[tuple[int, int]]:
    """The upper left corner of each tile, in pixels; later tiles lie in front."""
    count = len(tiles)
    slots = [(slot + 0.5) / count for slot in range(count)]
    rng.shuffle(slots)
    places: list[tuple[int, int]] = []
    for number, tile in enumerate(tiles):
        centre = 0.1 + 0.8 * (slots[number] + rng.uniform(-0.28, 0.28) / count)
        depth = (number + 1) / count  # the last one stands in front, lowest in the picture
        floor = 0.76 + 0.14 * depth + rng.uniform(-0.02, 0.02)
        x, y = centre * side - tile.width / 2, floor * side - tile.height
        if places and rng.random() < 0.22:
            under, (under_x, under_y) = tiles[number - 1], places[-1]
            # On the one before, where that is broad enough to carry it and there is room above.
            if under.width > 0.7 * tile.width and under_y - tile.height > 0.02 * side:
                x = under_x + (under.width - tile.width) / 2 + rng.uniform(-0.03, 0.03) * side
                y = under_y - tile.height * 0.84
        x = min(max(x, -0.02 * side), 1.02 * side - tile.width)
        places.append((round(x), round(y)))
    return places


def _least_visible(tiles: list[Image.Image], places: list[tuple[int, int]], side: int) -> float:
    """The visible fraction of the item that is hidden most."""
    # A quarter of the resolution is enough to count pixels by.
    numbers = Image.new("L", (side // 4, side // 4), 0)
    areas = []
    for number, (tile, (x, y)) in enumerate(zip(tiles, places, strict=True), start=1):
        mask = tile.getchannel("A").reduce(4).point(_SOLID)
        areas.append(max(1, mask.histogram()[255]))
        numbers.paste(number, (x // 4, y // 4), mask)
    seen = numbers.histogram()
    return min(seen[number] / area for number, area in enumerate(areas, start=1))


def _paste_with_shadow(canvas: Image.Image, tile: Image.Image, place: tuple[int, int]) -> None:
    side = canvas.width
    margin = side // 28
    alpha = Image.new("L", (tile.width + 2 * margin, tile.height + 2 * margin), 0)
    alpha.paste(tile.getchannel("A").point(_SHADOW), (margin, margin))
    # Blurred small: a shadow has no detail to lose.
    shadow = alpha.reduce(2).filter(ImageFilter.BoxBlur(margin / 4)).resize(alpha.size)
    canvas.paste((18, 14, 8), (place[0] - margin + margin // 2, place[1] - margin + margin // 2), shadow)
    canvas.paste(tile, place, tile)


def _barcode(rng: random.Random, draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    draw.rectangle((x, y, x + width, y + height), fill=(238, 236, 230))
    bars = 9
    for bar in range(bars):
        if rng.random() < 0.65:
            bar_x = x + width * (bar + 0.5) / (bars + 0.5)
            draw.line((bar_x, y + height * 0.15, bar_x, y + height * 0.75), fill=(30, 30, 30))


def _box(rng: random.Random, draw: ImageDraw.ImageDraw, size: tuple[int, int], product: Product) -> None:
    width, height = size
    depth_x, depth_y = width * rng.uniform(0.06, 0.2), height * rng.uniform(0.05, 0.14)
    front = (0, depth_y, width - depth_x, height - 1)
    right = [
        (width - depth_x, depth_y), (width - 1, 0),
        (width - 1, height - 1 - depth_y), (width - depth_x, height - 1),
    ]  # fmt: skip
    top = [(0, depth_y), (depth_x, 0), (width - 1, 0), (width - depth_x, depth_y)]
    draw.polygon(top, fill=_shade(product.colour, 1.2))
    draw.polygon(right, fill=_shade(product.colour, 0.62))
    draw.rectangle(front, fill=product.colour)
    if rng.random() < 0.6:
        band = depth_y + height * rng.uniform(0.05, 0.45)
        draw.rectangle((0, band, width - depth_x, band + height * rng.uniform(0.1, 0.3)), fill=product.accent)
    draw.text((width * 0.08, height * 0.3), product.word, font=_font(width // 5), fill=_ink(product.colour))
    for line in range(rng.randint(0, 4)):
        y = height * (0.62 + 0.06 * line)
        draw.line((width * 0.08, y, width * rng.uniform(0.3, 0.6), y), fill=_ink(product.colour))
    if rng.random() < 0.6:
        _barcode(rng, draw, (width * 0.46, height * 0.74, width * 0.3, height * 0.16))
    draw.rectangle(front, outline=_shade(product.colour, 0.7))


def _ink(colour: Colour) -> Colour:
    return (32, 30, 30) if sum(colour) > 360 else (236, 232, 222)


def _book(rng: random.Random, draw: ImageDraw.ImageDraw, size: tuple[int, int], product: Product) -> None:
    """A spine: bands at both ends, a title between."""
    width, height = size
    draw.rectangle((0, 0, width - 1, height - 1), fill=product.colour)
    draw.rectangle((0, 0, width * 0.16, height - 1), fill=_shade(product.colour, 1.25))
    draw.rectangle((width * 0.84, 0, width - 1, height - 1), fill=_shade(product.colour, 0.6))
    for end in (rng.uniform(0.05, 0.12), rng.uniform(0.84, 0.9)):
        draw.rectangle((0, height * end, width - 1, height * (end + 0.04)), fill=product.accent)
    title = height * rng.uniform(0.2, 0.3)
    while title < height * 0.72:
        letter = height * rng.uniform(0.02, 0.07)
        draw.rectangle((width * 0.34, title, width * 0.68, title + letter), fill=_ink(product.colour))
        title += letter + height * 0.025


def _bottle(rng: random.Random, draw: ImageDraw.ImageDraw, size: tuple[int, int], product: Product) -> None:
    width, height = size
    neck, shoulder, cap = width * rng.uniform(0.2, 0.32), height * rng.uniform(0.26, 0.36), height * 0.12
    radius = width * 0.16
    draw.rounded_rectangle((0, shoulder * 0.75, width - 1, height - 1), radius, fill=product.colour)
    shoulders = [
        (width / 2 - neck, cap), (width / 2 + neck, cap),
        (width - 1, shoulder + radius), (0, shoulder + radius),
    ]  # fmt: skip
    draw.polygon(shoulders, fill=product.colour)
    draw.rectangle((width / 2 - neck * 1.15, 0, width / 2 + neck * 1.15, cap), fill=product.accent)
    label_top = height * rng.uniform(0.45, 0.55)
    draw.rectangle((0, label_top, width - 1, height * 0.85), fill=(226, 222, 210))
    draw.text((width * 0.12, label_top + 1), product.word, font=_font(width // 5), fill=product.accent)
    # Round: dark to the right, a highlight to the left.
    for step in range(4):
        x = width * (0.8 + 0.05 * step)
        draw.line(
            (x, shoulder + radius, x, height * 0.96), fill=_shade(product.colour, 0.75 - 0.1 * step), width=2
        )
    draw.line((width * 0.2, shoulder + radius, width * 0.2, height * 0.93), fill=(250, 248, 240), width=2)


def _can(rng: random.Random, draw: ImageDraw.ImageDraw, size: tuple[int, int], product: Product) -> None:
    width, height = size
    rim = min(height * 0.14, width * 0.3)
    draw.ellipse((0, height - 1 - rim, width - 1, height - 1), fill=_shade(product.colour, 0.7))
    columns = 12
    for column in range(columns):
        light = 0.6 + 0.65 * math.sin(math.pi * (column + 1.5) / (columns + 3))
        x, next_x = width * column / columns, width * (column + 1) / columns
        draw.rectangle((x, rim / 2, next_x, height - 1 - rim / 2), fill=_shade(product.colour, light))
        band = height * 0.35
        draw.rectangle((x, band, next_x, band + height * 0.3), fill=_shade(product.accent, light))
    draw.ellipse((0, 0, width - 1, rim), fill=(168, 168, 164), outline=(110, 110, 106))
    draw.text((width * 0.16, height * 0.4), product.word, font=_font(width // 5), fill=_ink(product.accent))
    if rng.random() < 0.4:
        _barcode(rng, draw, (width * 0.3, height * 0.72, width * 0.4, height * 0.12))


def _bag(rng: random.Random, draw: ImageDraw.ImageDraw, size: tuple[int, int], product: Product) -> None:
    """A poly bag: a crumpled outline, facets of light and dark."""
    width, height = size
    corners = 14
    outline: list[Point] = []
    for corner in range(corners):
        angle = 2 * math.pi * corner / corners
        reach = rng.uniform(0.86, 1.0)
        # A superellipse: between an ellipse and a rectangle.
        x = math.copysign(abs(math.cos(angle)) ** 0.55, math.cos(angle)) * reach
        y = math.copysign(abs(math.sin(angle)) ** 0.55, math.sin(angle)) * reach
        outline.append((width * (0.5 + 0.49 * x), height * (0.5 + 0.49 * y)))
    pale = _shade(product.colour, 0.6)
    base: Colour = (pale[0] // 2 + 96, pale[1] // 2 + 96, pale[2] // 2 + 94)
    draw.polygon(outline, fill=base)
    middles = [(width * rng.uniform(0.25, 0.75), height * rng.uniform(0.25, 0.75)) for _ in range(3)]
    for corner in range(corners):
        if rng.random() < 0.7:
            facet = [outline[corner], outline[(corner + 1) % corners], rng.choice(middles)]
            draw.polygon(facet, fill=_shade(base, rng.uniform(0.8, 1.2)))
    for _ in range(4):
        x, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.8)
        crease = (x, y, x + width * rng.uniform(-0.25, 0.25), y + height * rng.uniform(-0.2, 0.2))
        draw.line(crease, fill=_shade(base, 1.35), width=2)
    if rng.random() < 0.7:
        _barcode(rng, draw, (width * 0.3, height * 0.5, width * 0.36, height * 0.16))


SHAPES: Mapping[str, Callable[[random.Random, ImageDraw.ImageDraw, tuple[int, int], Product], None]] = {
    "box": _box,
    "book": _book,
    "bottle": _bottle,
    "can": _can,
    "bag": _bag,
}


def _front(rng: random.Random, canvas: Image.Image) -> None:
    """What lies before the items: groups of elastic bands, tape now and then, the edge and its label."""
    side = canvas.width
    draw = ImageDraw.Draw(canvas, "RGBA")
    for _ in range(rng.randint(1, 2)):
        start, spacing = rng.uniform(0.2, 0.68) * side, side * rng.uniform(0.012, 0.018)
        slope = rng.uniform(-0.03, 0.03) * side
        for band in range(rng.randint(5, 13)):
            y = start + band * spacing
            draw.line(
                (0, y, side, y + slope), fill=(236, 228, 206, rng.randint(60, 120)), width=max(1, side // 150)
            )
        haze = (0, start, side, start + spacing * 8)
        draw.rectangle(haze, fill=(226, 216, 190, rng.randint(24, 64)))
    if rng.random() < 0.4:
        y, width = rng.uniform(0.25, 0.75) * side, rng.uniform(0.05, 0.1) * side
        tilt = rng.uniform(-0.12, 0.12) * side
        tape = [(0, y), (side, y + tilt), (side, y + tilt + width), (0, y + width)]
        draw.polygon(tape, fill=(214, 196, 150, rng.randint(110, 190)))
    edge = rng.uniform(0.9, 0.94) * side
    draw.rectangle((0, edge, side, side), fill=(206, 184, 92, 255))
    draw.line((0, edge, side, edge), fill=(120, 104, 48, 255), width=2)
    x, width = rng.uniform(0.3, 0.5) * side, 0.26 * side
    colour = rng.choice(((40, 44, 84), (190, 60, 40), (70, 130, 160), (226, 120, 50)))
    draw.rectangle((x, edge + side * 0.006, x + width, side), fill=(240, 236, 224, 255))
    draw.rectangle((x + width * 0.03, edge + side * 0.014, x + width * 0.62, side), fill=(*colour, 255))
    name = f"{rng.randint(1, 4)}{rng.choice('ABCDEFGHIJ')}"
    draw.text((x + width * 0.15, edge + 2), name, font=_font(round(side * 0.055)), fill=(250, 250, 250, 255))


def _photograph(rng: random.Random, canvas: Image.Image, side: int) -> Image.Image:
    """The picture a camera takes: uneven light, a tint, softness, noise."""
    gradient = Image.linear_gradient("L").rotate(rng.uniform(0, 360), Image.Resampling.BILINEAR)
    gradient = gradient.crop((40, 40, 216, 216)).resize((side, side), Image.Resampling.BILINEAR)
    dark, bright = rng.uniform(0.5, 0.8), rng.uniform(0.85, 1.0)
    tint = (1.0, rng.uniform(0.9, 1.0), rng.uniform(0.74, 0.95))
    levels = [dark * 255 + (bright - dark) * level for level in range(256)]
    light = Image.merge("RGB", [gradient.point([round(level * part) for level in levels]) for part in tint])
    picture = canvas.resize((side, side), Image.Resampling.BOX)
    picture = ImageChops.multiply(picture, light)
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 0.6)))
    strength = rng.uniform(6, 18)  # levels, peak to peak
    noise = Image.frombytes("L", (side, side), rng.randbytes(side * side))
    noise = noise.point([round(level / 255 * strength) for level in range(256)])
    # Exposure: twice the light minus half the noise's mean, so that the noise brightens nothing.
    lift = rng.uniform(4, 30)
    return ImageChops.add(picture, Image.merge("RGB", (noise, noise, noise)), 1, round(lift - strength / 2))
