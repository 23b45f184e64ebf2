"""The benchmark of galleries measures and judges."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import galleries


def test_a_small_run_says_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gallery.json"
    words = [
        "x",
        "--sizes",
        "400",
        "--rounds",
        "10",
        "--only",
        "match",
        "--keep",
        str(tmp_path / "kept"),
        "--out",
        str(out),
    ]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(galleries, "REST_S", 0.0)
    assert galleries.main() == 0
    (row,) = json.loads(out.read_text())["match"]
    assert set(row["ways"]) == {"foveal", "exact, NumPy", "faiss flat", "faiss HNSW"}
    assert row["ways"]["foveal"]["recall_at_1"] == 1.0
    assert row["ways"]["foveal"]["batches"] == 10
    assert (tmp_path / "kept/hnsw-400.faiss").is_file()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["match"] == [row]


def test_aims_that_were_missed_are_named() -> None:
    way = {"p99_ms": 3.0, "recall_at_1": 0.9}
    report = {
        "match": [{"vectors": 10_000, "ways": {"foveal": way}}],
        "start": {"seconds": 31.0},
        "seen": {"p99_s": 0.5},
    }
    assert [line.split(":")[0] for line in galleries._missed(report)] == ["10,000 vectors", "10,000 vectors", "start"]
