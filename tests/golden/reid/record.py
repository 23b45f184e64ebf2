"""Write the golden embeddings of the weights that ship: run it after every export, and look at what changes.

`python tests/golden/reid/record.py`
"""

from pathlib import Path

import numpy as np

from models.engine import EngineConfig, load_engine
from models.reid import REID_NANO, Embedder

PATH = Path(__file__).with_name("reid-nano.npz")


def crops() -> np.ndarray:
    """Six synthetic crops uint8 [6, 128, 64, 3]: gradients, stripes and discs in colours, nobody's picture."""
    ys, xs = np.mgrid[:128, :64].astype(np.float64)
    made = []
    for k in range(6):
        red = 127 + 120 * np.sin(xs / (4 + k) + k)
        green = 255 * ys / 127 if k % 2 else 255 * (ys > 20 * k)
        blue = 255 * (np.hypot(xs - 32, ys - 20 * k) < 18)
        made.append(np.stack([blue, green, red], axis=2))
    return np.rint(made).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    engine = load_engine(REID_NANO, EngineConfig(compiler="openvino", precision="f32", threads=1), from_uint8=True)
    digest = np.array(REID_NANO.record().weights.sha256)
    np.savez_compressed(PATH, embeddings=Embedder(engine).embed_crops(crops()).astype(np.float16), weights=digest)
