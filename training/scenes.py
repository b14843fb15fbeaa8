"""General material: drawings of coloured shapes, and questions about them. What the base models know besides medicine."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from palpate.nouns import Prompt
from palpate.prompts import Wording
from training.wordings import full_answer, trained_prompts

SIZE = 96
COLOURS = {
    "red": (205, 50, 45),
    "green": (60, 160, 70),
    "blue": (50, 85, 200),
    "yellow": (230, 205, 60),
    "purple": (135, 60, 160),
    "white": (240, 240, 240),
}
SHAPES = ("circle", "square", "triangle", "star")
BACKGROUNDS = {"black": (22, 22, 24), "grey": (120, 120, 122), "pink": (222, 180, 185), "brown": (120, 88, 62)}
NUMBERS = ("No", "One", "Two", "Three")
SIDES = ("left", "center", "right")
PLACES = {"left": "on the left", "center": "in the center", "right": "on the right"}

Shape = dict[str, Any]
Pair = tuple[str, str]
"""A question and its answer."""


def draw_scene(index: int, split: str, seed: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """One drawing, (96, 96, 3) uint8, and what is in it: background and up to three shapes in separate columns."""
    rng = np.random.default_rng([seed, index, len(split), sum(split.encode())])
    ground = str(rng.choice(list(BACKGROUNDS)))
    scale = 3
    canvas = Image.new("RGB", (SIZE * scale, SIZE * scale), BACKGROUNDS[ground])
    pen = ImageDraw.Draw(canvas)
    columns = rng.permutation(3)[: rng.choice([0, 1, 2, 3], p=[0.06, 0.4, 0.34, 0.2])]
    shapes = [_draw_shape(pen, rng, int(column), scale) for column in columns]
    small = canvas.resize((SIZE, SIZE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.8))))
    pixels = np.asarray(small, np.float32) * rng.uniform(0.8, 1.1) + rng.normal(0, rng.uniform(2, 9), (SIZE, SIZE, 3))
    shapes.sort(key=lambda shape: SIDES.index(shape["side"]))
    return np.clip(pixels, 0, 255).astype(np.uint8), {"background": ground, "shapes": shapes}


def _draw_shape(pen: ImageDraw.ImageDraw, rng: np.random.Generator, column: int, scale: int) -> Shape:
    kind, colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
    radius = float(rng.uniform(6, 15))
    x, y = (column + 0.5) * 32 + rng.uniform(-2, 2), rng.uniform(20, 76)
    turn = rng.uniform(-0.3, 0.3)
    if kind == "circle":
        pen.ellipse([(v * scale) for v in (x - radius, y - radius, x + radius, y + radius)], COLOURS[colour])
    else:
        corners = {"square": 4, "triangle": 3, "star": 10}[kind]
        angles = turn + 2 * np.pi * np.arange(corners) / corners - np.pi / (4 if kind == "square" else 2)
        reach = np.where(np.arange(corners) % 2 == 1, 0.42, 1.0) if kind == "star" else np.ones(corners)
        xs, ys = (x + reach * radius * np.cos(angles)) * scale, (y + reach * radius * np.sin(angles)) * scale
        pen.polygon(list(zip(xs.tolist(), ys.tolist(), strict=True)), COLOURS[colour])
    return {"kind": kind, "colour": colour, "size": "small" if radius < 10.5 else "large", "side": SIDES[column]}


def scene_facts(scene: dict[str, Any]) -> dict[str, Any]:
    """The scene as flat metadata, for the vision tower's pretraining heads: what stands in each column."""
    facts: dict[str, Any] = {"background": scene["background"], "count": len(scene["shapes"])}
    by_side = {shape["side"]: shape for shape in scene["shapes"]}
    for side in SIDES:
        shape = by_side.get(side, {})
        facts |= {f"{side}_kind": shape.get("kind", "none"), f"{side}_colour": shape.get("colour", "none")}
    return facts


@cache
def evidence_prompts(evidence: str) -> tuple[Prompt, ...]:
    """The target questions of the project's grammar, asked about a shape."""
    words = Wording(
        subject="image",
        evidence=evidence,
        hints="edges, corners and colour",
        present=evidence.capitalize(),
        absent=f"No {evidence}",
        diagnose=evidence,
    )
    return trained_prompts(words, ("target",), medical=False)


def scene_pairs(scene: dict[str, Any], rng: np.random.Generator, count: int) -> list[Pair]:
    """``count`` questions about a scene with true answers: presence in every closed form, counting, colours, a description."""
    shapes: list[Shape] = scene["shapes"]
    pairs: list[Pair] = []
    while len(pairs) < count:
        roll = rng.random()
        if roll < 0.68:
            pairs.append(_presence(shapes, rng))
        elif roll < 0.76:
            pairs.append((f"How many shapes are in this image?{_one_word(rng)}", NUMBERS[len(shapes)]))
        elif roll < 0.84 and shapes:
            shape = shapes[rng.integers(len(shapes))]
            pairs.append((f"What color is the shape {PLACES[shape['side']]}?{_one_word(rng)}", shape["colour"].capitalize()))
        elif roll < 0.90 and shapes:
            shape = shapes[rng.integers(len(shapes))]
            pairs.append((f"What shape is {PLACES[shape['side']]}?{_one_word(rng)}", shape["kind"].capitalize()))
        else:
            pairs.append((SCENE_DESCRIBE[rng.integers(len(SCENE_DESCRIBE))], describe_scene(scene)))
    return pairs


SCENE_DESCRIBE = (
    "Describe this image.",
    "Describe this image in great detail and pay attention to any relevant pixels. Imagine a physician will use your description.",
    "What is shown in this image?",
)


def describe_scene(scene: dict[str, Any]) -> str:
    """Two or three true sentences."""
    shapes = scene["shapes"]
    if not shapes:
        return f"This is a drawing on a {scene['background']} background. There are no shapes."
    listed = ", ".join(f"a {s['size']} {s['colour']} {s['kind']} {PLACES[s['side']]}" for s in shapes)
    return f"This is a drawing on a {scene['background']} background. There is {listed}."


def _presence(shapes: list[Shape], rng: np.random.Generator) -> Pair:
    """Is a shape or a coloured shape there? Balanced: half the questions ask about one that is."""
    coloured = rng.random() < 0.5
    there = {f"{s['colour']} {s['kind']}s" if coloured else f"{s['kind']}s" for s in shapes}
    everything = [f"{c} {k}s" for c in COLOURS for k in SHAPES] if coloured else [f"{k}s" for k in SHAPES]
    label = int(bool(there) and rng.random() < 0.5)
    options = sorted(there) if label else [e for e in everything if e not in there]
    evidence = options[rng.integers(len(options))]
    prompts = evidence_prompts(evidence)
    prompt = prompts[rng.integers(len(prompts))]
    return prompt.text, full_answer(prompt, label, (f"there are no {evidence}", f"there are {evidence}"))


def _one_word(rng: np.random.Generator) -> str:
    return "\nAnswer in one word." if rng.random() < 0.5 else ""
