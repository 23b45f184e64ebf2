"""The Market protocol against a case worked out by hand, and the reading of crops."""

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.reid.codes import compact_codes, learn_mask, read_mask
from training.reid.data import NoCropsError, development_split, read_crops
from training.reid.protocol import market_metrics, query_indices
from training.reid.rerank import reciprocal_similarity


def test_queries_are_one_per_identity_and_camera_by_the_smallest_name() -> None:
    names = ["0002_c2s1_5.jpg", "0002_c1s1_9.jpg", "0002_c1s1_1.jpg", "0000_c1s1_1.jpg", "-1_c1s1_1.jpg"]
    identities, cameras = np.array([2, 2, 2, 0, -1]), np.array([2, 1, 1, 1, 1])
    assert query_indices(names, identities, cameras).tolist() == [0, 2]


def test_a_case_by_hand() -> None:
    angles = np.deg2rad([0, 10, 20, 30, 40, 5, 3])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    #                      query  true  other  true  distractor  same camera  junk
    identities = np.array([1, 1, 2, 1, 0, 1, -1])
    cameras = np.array([1, 2, 2, 3, 2, 1, 2])
    found = market_metrics(embeddings, identities, cameras, np.array([0]))
    # Left in the ranking: true (10), other (20), true (30), distractor (40).
    assert found["mAP"] == pytest.approx(100 * (1 / 1 + 2 / 3) / 2)
    assert found["mINP"] == pytest.approx(100 * 2 / 3)
    assert found["rank1"] == 100
    assert (found["queries"], found["gallery"]) == (1, 5)


def test_without_a_second_camera_there_is_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="two cameras"):
        market_metrics(np.eye(2, dtype=np.float32), np.array([1, 1]), np.array([1, 1]), np.array([0]))


def test_a_tar_and_a_folder_are_read_alike(tmp_path: Path) -> None:
    names = ["0007_c1s1_000001_01.jpg", "-1_c3s1_000001_01.png", "notes.txt", "readme.jpg"]
    with tarfile.open(tmp_path / "crops.tar", "w") as archive:
        for value, name in enumerate(names):
            data = (
                cv2.imencode(Path(name).suffix, np.full((64, 32, 3), 60 * value, np.uint8))[1].tobytes()
                if (not name.endswith("txt"))
                else b"no picture"
            )
            (tmp_path / "crops").mkdir(exist_ok=True)
            (tmp_path / "crops" / name).write_bytes(data)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    from_tar, from_folder = read_crops(tmp_path / "crops.tar"), read_crops(tmp_path / "crops")
    assert from_tar.names == from_folder.names == ("-1_c3s1_000001_01.png", "0007_c1s1_000001_01.jpg")
    assert from_tar.identities.tolist() == [-1, 7]
    assert from_tar.cameras.tolist() == [3, 1]
    assert from_tar.images.shape == (2, 128, 64, 3)


def test_a_folder_without_crops_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(NoCropsError, match="0002_c1s1_000551_01"):
        read_crops(tmp_path)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "0007_c1s1_000001_01.jpg").write_bytes(b"\xff\xd8broken")
    with pytest.raises(ValueError, match="0007_c1s1_000001_01"):
        read_crops(tmp_path)


def test_the_split_takes_the_smallest_digests(tmp_path: Path) -> None:
    for identity in range(1, 9):
        cv2.imwrite(str(tmp_path / f"{identity:04d}_c1s1_000001_01.png"), np.zeros((128, 64, 3), np.uint8))
    train, test = development_split(read_crops(tmp_path), held_out=3)
    assert not set(train.identities) & set(test.identities)
    assert sorted(test.identities.tolist()) == [4, 5, 8]  # by sha256 of "0004" and so on


def test_reranking_puts_the_mutual_neighbour_before_the_hub() -> None:
    # The query's cosine is the same with its own person's crop as with one that is nearest to many others.
    query, own = np.array([1, 0, 0.0]), np.array([0.9, 0.436, 0])
    hub = np.array([0.9, 0, 0.436])
    around = [np.array([0.8, 0.01 * k, 0.6]) for k in range(1, 7)]
    near = [np.array([0.98, 0.2 + 0.001 * k, 0]) for k in range(4)]
    gallery = np.stack([own, hub, *around, *near]).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    plain = gallery @ query.astype(np.float32)
    assert abs(plain[0] - plain[1]) < 1e-3
    reranked = reciprocal_similarity(query[None].astype(np.float32), gallery)[0]
    assert reranked.shape == (12,)
    assert reranked[0] > reranked[1]


def test_reranking_leaves_a_clear_case_as_it_is() -> None:
    generator = np.random.default_rng(0)
    centres = np.eye(16, dtype=np.float32)
    rows = np.concatenate([one + 0.05 * generator.standard_normal((8, 16)).astype(np.float32) for one in centres])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    identities, cameras = np.repeat(np.arange(1, 17), 8), np.tile([1, 2], 64)
    queries = np.arange(0, 128, 8)
    assert market_metrics(rows, identities, cameras, queries, rerank=True)["mAP"] == 100


def test_codes_of_well_parted_people_lose_nothing() -> None:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((12, 64)).astype(np.float32)
    rows = np.repeat(centres, 4, axis=0) + 0.1 * generator.standard_normal((48, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    before = rows.copy()
    found = compact_codes(rows, np.repeat(np.arange(1, 13), 4), np.tile([1, 2], 24), np.arange(0, 48, 4))
    assert found["int8"] == {"bytes": 68, "rank1": 100, "mAP": 100}
    assert found["bits"]["bytes"] == 8
    assert found["bits"]["rank1"] > 90
    np.testing.assert_array_equal(rows, before)


def test_a_mask_keeps_the_bits_that_tell_people_apart() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((96, 64)).astype(np.float32)
    # The odd ones are noise.
    rows[:, ::2] += np.repeat(generator.standard_normal((12, 32)).astype(np.float32), 8, axis=0)
    people = np.repeat(np.arange(1, 13), 8)
    mask = learn_mask(rows, people, bits=32)
    assert np.isin(mask, np.arange(0, 64, 2)).mean() > 0.9
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = compact_codes(rows, people, np.tile([1, 2], 48), np.arange(0, 96, 8), mask)
    assert found["masked"]["bytes"] == 4
    assert found["masked"]["mAP"] > found["bits"]["mAP"]


def test_the_mask_of_the_network_in_use_is_there() -> None:
    mask = read_mask()
    assert mask is not None, "run `python -m training.reid mask`"
    assert len(np.unique(mask)) == len(mask) == 256
    assert mask.min() >= 0
    assert mask.max() < 512
