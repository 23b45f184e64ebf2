"""Every network of this project by name, and the public ones that it is compared with."""

from __future__ import annotations

from models.detection.spec import DETECTORS
from models.errors import UnknownModelError
from models.expression.spec import EXPRESSION_NANO
from models.mirror import PublicWeights
from models.reid.spec import REID_NANO
from models.spec import ModelSpec
from models.ssr.spec import SSR

__all__ = ["CATALOGUE", "PUBLIC", "find_public", "find_spec"]

CATALOGUE: dict[str, ModelSpec] = DETECTORS | {spec.name: spec for spec in (REID_NANO, EXPRESSION_NANO, SSR)}

PUBLIC: dict[str, PublicWeights] = {
    weights.name: weights
    for weights in (
        PublicWeights(
            name="yolox_nano",
            file="yolox_nano.onnx",
            sha256=(
                "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
                "e8af074932d4ed7e232278e3055cefcdea3edf178874a3694ae292649fb464dd",  # the development data's export
            ),
            licence="Apache-2.0",
            page="https://github.com/Megvii-BaseDetection/YOLOX",
            meaning="people and 79 other classes of COCO, 416x416 BGR 0-255 letterboxed",
            address="https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.onnx",
        ),
        PublicWeights(
            name="fastestdet",
            file="fastestdet.onnx",
            sha256=("31cb14c017fce347cb4c846ec62fdf00d76bb3beecdf4be21e7116ac67feb880",),
            licence="BSD-3-Clause",
            page="https://github.com/dog-qiuqiu/FastestDet",
            meaning="people and 79 other classes of COCO, 352x352",
            address="https://raw.githubusercontent.com/dog-qiuqiu/FastestDet/main/example/onnx-runtime/FastestDet.onnx",
        ),
        PublicWeights(
            name="yunet_n_dynamic",
            file="yunet_n_dynamic.onnx",
            sha256=("104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12",),
            licence="BSD-3-Clause",
            page="https://github.com/ShiqiYu/libfacedetection.train",
            meaning="faces with five landmarks, any size",
            address="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/master/onnx/yunet_n_dynamic.onnx",
        ),
        PublicWeights(
            name="osnet_x0_25_msmt17",
            file="osnet_x0_25_msmt17.onnx",
            sha256=("61b2604171ef9d58d21758626f83b35a253c3d7123976523a6e03068c3c95d7b",),
            licence="MIT; trained on MSMT17, for research",
            page="https://github.com/KaiyangZhou/deep-person-reid",
            meaning="person embedding, 256x128 RGB, ImageNet mean and std, 512 numbers",
        ),
    )
}


def find_spec(name: str) -> ModelSpec:
    """A network of this project. Raises: UnknownModelError."""
    if name not in CATALOGUE:
        raise UnknownModelError(name, sorted(CATALOGUE))
    return CATALOGUE[name]


def find_public(name: str) -> PublicWeights:
    """A public network. Raises: UnknownModelError."""
    if name not in PUBLIC:
        raise UnknownModelError(name, sorted(PUBLIC))
    return PUBLIC[name]
