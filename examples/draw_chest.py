"""Draws chest phantoms into a folder of label folders, as images of your own would lie.

    python examples/draw_chest.py ward/chest --per-class 40

writes ward/chest/pneumonia/person0003_1.png and so on: two images to a person, labels known because they are drawn.
"""

import argparse
from collections import Counter
from itertools import count
from pathlib import Path

from PIL import Image

from palpate.cases.phantom import draw

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("--per-class", type=int, default=40)
given = parser.parse_args()

drawn: Counter[str] = Counter()
for index in count():
    phantom = draw("chest_xray", index)
    label = "pneumonia" if phantom.label else "normal"
    if drawn[label] < given.per_class:
        person, shot = divmod(index, 2)
        file = given.folder / label / f"person{person:04d}_{shot}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.image).save(file)
        drawn[label] += 1
    if drawn.total() == 2 * given.per_class:
        break
print(f"{drawn.total()} images in {given.folder}")
