"""Write the golden readings of the weights that ship: run it after every export, and look at what changes.

`python tests/golden/expression/record.py`
"""

from pathlib import Path

import numpy as np

from models.engine import EngineConfig, load_engine
from models.expression import EXPRESSION_NANO, ExpressionReader

PATH = Path(__file__).with_name("expression-nano.npz")


def faces() -> np.ndarray:
    """Six drawn faces uint8 [6, 48, 48]: an ellipse, eyes and mouths of different openness, nobody's picture."""
    ys, xs = np.mgrid[:48, :48].astype(np.float64)
    made = []
    for k in range(6):
        face = 60 + 120 / (1 + np.exp(8 * (np.hypot((xs - 24) / 19, (ys - 24) / 24) - 1))) + 0.4 * xs
        for x in (15.3, 32.7):
            face -= 90 * np.exp(-((xs - x) ** 2) / 8 - (ys - 19) ** 2 / (2 + k))
        curve = (k - 2) * 0.02 * ((xs - 24) ** 2 - 40)
        face -= 100 * np.exp(-((ys - 36 + curve) ** 2) / (3 + 4 * (k % 3)) - (xs - 24) ** 2 / 60)
        made.append(face)
    return np.rint(made).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    config = EngineConfig(compiler="openvino", precision="f32", threads=1)
    readings = ExpressionReader(load_engine(EXPRESSION_NANO, config, from_uint8=True)).read_faces(faces())
    np.savez_compressed(
        PATH,
        probabilities=np.stack([one.probabilities for one in readings]),
        rest=np.array([(one.valence, one.arousal, one.uncertainty) for one in readings], np.float32),
        weights=np.array(EXPRESSION_NANO.record().weights.sha256),
    )
