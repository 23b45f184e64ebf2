"""Facial expressions: `ExpressionReader(load_engine(EXPRESSION_NANO, ...)).read(frames_bgr, boxes, landmarks)`."""

from models.expression.postprocess import Reading
from models.expression.reader import ExpressionReader
from models.expression.spec import CROWD, EXPRESSION_NANO, EXPRESSIONS

__all__ = ["CROWD", "EXPRESSIONS", "EXPRESSION_NANO", "ExpressionReader", "Reading"]
