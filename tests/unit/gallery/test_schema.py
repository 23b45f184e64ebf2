"""Embeddings are refused before they reach a gallery, and come back from Redis as they went in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gallery.errors import CorruptVectorError, DimensionMismatchError, InvalidEmbeddingError
from gallery.schema import Storage, check_embeddings, decode_vector, encode_vector


def unit(seed: int, rows: int, dimension: int = 32) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("fault", [np.nan, np.inf, 0.0, 2.0])
def test_rows_that_are_not_of_unit_norm_are_named(fault: float) -> None:
    rows = unit(0, 4)
    rows[2] *= fault
    with pytest.raises(InvalidEmbeddingError, match="row 2") as caught:
        check_embeddings(rows)
    assert caught.value.rows == (2,)


def test_shapes_and_lengths() -> None:
    assert check_embeddings(unit(1, 1)[0]).shape == (1, 32)
    assert check_embeddings(unit(1, 3).astype(np.float64)).dtype == np.float32
    with pytest.raises(DimensionMismatchError, match="expected 16 numbers as the gallery has, got 32"):
        check_embeddings(unit(1, 3), dimension=16)
    with pytest.raises(InvalidEmbeddingError, match=r"expected shape \[D\] or \[N, D\]"):
        check_embeddings(np.zeros((2, 2, 2)))


@given(seed=st.integers(0, 2**31), storage=st.sampled_from(["float32", "float16"]))
def test_a_vector_survives_its_hash(seed: int, storage: Storage) -> None:
    vector = unit(seed, 1)[0]
    fields = {"embedding": encode_vector(vector, storage), "dtype": storage.encode()}
    back = decode_vector("k", fields, dimension=32)
    assert back.dtype == np.float32
    assert float(back @ vector) > (0.999_999 if storage == "float32" else 0.999)


@given(raw=st.binary(max_size=160), dtype=st.sampled_from([b"float32", b"float16", b"int8", b"\xff", None]))
def test_any_bytes_are_a_unit_vector_or_a_named_corruption(raw: bytes, dtype: bytes | None) -> None:
    fields = {"embedding": raw, "dtype": dtype}
    with np.errstate(all="ignore"):
        decoded = outcome_of(fields)
    if isinstance(decoded, CorruptVectorError):
        assert decoded.key == "foveal:{g}:vector:a:0"
        assert decoded.key in str(decoded)
    else:
        assert abs(float(np.linalg.norm(decoded)) - 1) < 1e-3


def outcome_of(fields: dict[str, bytes | None]) -> np.ndarray | CorruptVectorError:
    try:
        return decode_vector("foveal:{g}:vector:a:0", fields, dimension=32)
    except CorruptVectorError as error:
        return error
