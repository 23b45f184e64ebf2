"""The REST address over HTTP, on a real Valkey: galleries, identities, search, and every error as problem+json."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen
from uuid import uuid4

import numpy as np
import pytest
import uvicorn

from actors.gateway_routes import GatewayServices, build_api
from actors.pictures import PersonEmbedder
from deploy.local import LocalValkey
from gallery.config import GalleryConfig
from models.engine.config import EngineConfig

pytestmark = pytest.mark.services
ADA, BEA = np.eye(8, dtype=np.float32)[:2].tolist()


async def no_actors() -> dict[str, Any]:
    return {"deployments": {}}


@contextmanager
def serving(config: GalleryConfig) -> Iterator[str]:
    with GatewayServices.opened(config, PersonEmbedder(EngineConfig()), no_actors) as services:
        server = uvicorn.Server(uvicorn.Config(build_api(services), port=0, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def api(valkey: str) -> Iterator[str]:
    with serving(GalleryConfig(url=valkey)) as address:
        yield address


def ask(
    address: str, method: str = "GET", body: Any = None, kind: str = "application/json"
) -> tuple[int, Any, dict[str, str]]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(address, data=data, method=method, headers={"Content-Type": kind})
    try:
        with urlopen(request, timeout=20) as response:
            raw = response.read()
            return response.status, json.loads(raw) if raw else None, dict(response.headers)
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def eventually(address: str, wanted: str, **given: Any) -> Any:
    until = time.monotonic() + 1.0
    while True:
        code, found, _ = ask(address, "POST", **given)
        if code == 200 and found["status"] == wanted:
            return found
        assert time.monotonic() < until, (code, found)
        time.sleep(0.01)


def test_a_person_is_enrolled_found_and_forgotten(api: str) -> None:
    name = f"lobby-{uuid4().hex}"
    code, made, _ = ask(
        f"{api}/v1/galleries", "POST", {"name": name, "dimension": 8, "epoch": "net-1", "threshold": 0.5}
    )
    assert (code, made["dimension"], made["identities"]) == (201, 8, 0)
    people = f"{api}/v1/galleries/{name}/identities"
    code, done, _ = ask(people, "POST", {"embeddings": [ADA], "name": "Ada", "event_id": "e1"})
    assert (code, done["replayed"]) == (201, False)
    assert ask(people, "POST", {"embeddings": [ADA], "name": "Ada", "event_id": "e1"})[1]["replayed"]
    found = eventually(f"{api}/v1/galleries/{name}/search", "known", body={"embedding": ADA})
    assert (found["name"], found["identity_id"]) == ("Ada", done["identity_id"])
    assert found["candidates"][0]["score"] == pytest.approx(1)
    assert ask(f"{api}/v1/galleries/{name}/search", "POST", {"embedding": BEA})[1]["status"] == "unknown"
    assert [i["name"] for i in ask(people)[1]] == ["Ada"]
    assert ask(f"{people}/{done['identity_id']}")[1]["vectors"][0]["polarity"] == "positive"
    assert ask(f"{people}/{done['identity_id']}/sightings")[:2] == (200, [])
    code, receipt, _ = ask(f"{people}/{done['identity_id']}?reason=asked", "DELETE")
    assert (code, receipt["proven"], receipt["removed"]["vectors"], len(receipt["replicas"])) == (200, True, 1, 1)
    eventually(f"{api}/v1/galleries/{name}/search", "unknown", body={"embedding": ADA})
    assert ask(f"{api}/v1/galleries/{name}", "PATCH", {"threshold": 0.8})[1]["threshold"] == 0.8
    assert name in [g["name"] for g in ask(f"{api}/v1/galleries")[1]]
    assert ask(f"{api}/v1/galleries/{name}", "DELETE")[0] == 204
    assert ask(f"{api}/v1/galleries/{name}")[0] == 404


def test_a_gallery_is_governed(api: str) -> None:
    name = f"lobby-{uuid4().hex}"
    at = f"{api}/v1/galleries/{name}"
    ask(f"{api}/v1/galleries", "POST", {"name": name, "dimension": 8, "epoch": "net-1", "threshold": 0.5})
    for who, row in (("ada", ADA), ("bea", BEA)):
        ask(f"{at}/identities", "POST", {"embeddings": [row], "identity_id": who, "quality": [0.7]})
    code, change, _ = ask(f"{at}/merge", "POST", {"identity_id": "ada", "into": "bea", "reason": "one coat"})
    assert (code, change["op"], change["reason"]) == (200, "merge", "one coat")
    assert [c["number"] for c in ask(f"{at}/changes")[1]] == [change["number"]]
    assert ask(f"{at}/undo", "POST", {})[1]["number"] == change["number"]
    assert ask(f"{at}/undo", "POST", {})[0] == 422
    ask(f"{at}/identities", "POST", {"embeddings": [BEA], "identity_id": "ada"})
    split = ask(f"{at}/split", "POST", {"identity_id": "ada", "vectors": [1], "new_id": "cleo"})[1]
    assert ask(f"{at}/identities/cleo")[1]["vector_count"] == 1
    assert ask(f"{at}/apart", "POST", {"identity_id": "ada", "other_id": "cleo"})[1]["op"] == "apart"
    code, problem, _ = ask(f"{at}/merge", "POST", {"identity_id": "ada", "into": "cleo"})
    assert (code, problem["title"]) == (422, "ChangeError")
    assert ask(f"{at}/undo", "POST", {"change": split["number"]})[0] == 200
    negative = {"embeddings": [BEA], "identity_id": "ada", "polarity": "negative", "reason": "not her"}
    ask(f"{at}/identities", "POST", negative)
    ask(f"{at}/identities", "POST", {"embeddings": [ADA], "identity_id": "ada"})
    assert ask(f"{at}/audit?limit=2")[1][1]["reason"] == "not her"
    code, problem, _ = ask(f"{at}/calibrate", "POST", {"fpir": 0.01})
    assert (code, problem["title"]) == (422, "CalibrationError")
    strangers = np.random.default_rng(0).normal(size=(200, 8))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    found = ask(f"{at}/calibrate", "POST", {"fpir": 0.1, "strangers": strangers.tolist()})[1]
    assert ask(at)[1]["threshold"] == found["threshold"]
    assert ask(f"{at}/expiry", "PUT", {"expire_after_s": 60})[1]["expire_after_s"] == 60
    assert ask(f"{at}/check")[1]["healthy"]
    with urlopen(f"{at}/export") as response:
        file = response.read()
    code, done, _ = ask(f"{at}-copy/import", "POST", file, "application/vnd.foveal.gallery")
    assert (code, done["identities"]) == (200, 2)
    assert ask(f"{at}-copy/import", "POST", file[:100], "application/vnd.foveal.gallery")[0] == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "status", "said"),
    [
        ("GET", "/v1/galleries/none/identities", None, "", 404, "foveal gallery list"),
        ("DELETE", "/v1/galleries/none", None, "", 404, "expected one that exists"),
        ("POST", "/v1/galleries", {"name": "a b"}, "application/json", 422, "expected 1 to 64 letters"),
        ("POST", "/v1/galleries", {"nam": "a"}, "application/json", 422, "name"),
        ("POST", "/v1/galleries/none/search", {"embedding": ADA}, "application/json", 404, "expected one that exists"),
        ("POST", "/v1/galleries/none/search", b"{", "application/json", 422, "/docs"),
        ("POST", "/v1/galleries/none/search", {"embedding": [2.0]}, "application/json", 422, "unit norm"),
        ("POST", "/v1/galleries/none/identities", b"\xff\xd8\xff", "image/jpeg", 422, "expected a JPEG"),
        ("POST", "/v1/galleries/none/identities?box=1,2", b"\xff\xd8\xff", "image/jpeg", 422, "expected"),
        ("POST", "/v1/galleries/none/identities", {"embeddings": [[1], [1, 0]]}, "application/json", 422, "one length"),
        ("GET", "/v2/none", None, "", 404, "/docs lists every path"),
    ],
)
def test_errors_are_problem_details_with_the_remedy(
    api: str, method: str, path: str, body: Any, kind: str, status: int, said: str
) -> None:
    code, problem, headers = ask(api + path, method, body, kind)
    assert (code, problem["status"], headers["content-type"]) == (status, status, "application/problem+json")
    assert said in problem["detail"]
    assert problem["type"].startswith("urn:foveal:problem:")


def test_a_body_over_the_limit_is_refused(api: str) -> None:
    code, problem, _ = ask(f"{api}/v1/galleries/x/search", "POST", b"\0" * (33 * 1024 * 1024), "image/png")
    assert (code, "send a smaller picture" in problem["detail"]) == (422, True)


def test_the_api_describes_itself(api: str) -> None:
    described = ask(f"{api}/openapi.json")[1]
    enrol = described["paths"]["/v1/galleries/{gallery}/identities"]["post"]
    assert set(enrol["requestBody"]["content"]) == {"application/json", "image/jpeg", "image/png"}
    governed = (
        "merge",
        "split",
        "undo",
        "apart",
        "audit",
        "calibrate",
        "expiry",
        "check",
        "export",
        "import",
        "changes",
    )
    assert {f"/v1/galleries/{{gallery}}/{word}" for word in governed} <= set(described["paths"])
    assert ask(f"{api}/v1/status")[:2] == (200, {"deployments": {}})


def test_an_absent_redis_is_503_and_said_in_the_health(tmp_path: Path) -> None:
    server = LocalValkey(tmp_path / "gone")
    server.start()
    url = server.url
    server.kill()
    with serving(GalleryConfig(url=url)) as address:
        code, problem, headers = ask(f"{address}/v1/galleries")
        assert (code, problem["retriable"], headers["retry-after"]) == (503, True, "2")
        assert "FOVEAL_REDIS__URL" in problem["detail"]
        code, problem, _ = ask(f"{address}/v1/galleries/lobby/search", "POST", {"embedding": ADA})
        assert (code, "says nothing about the person" in problem["detail"]) == (503, True)
        code, health, _ = ask(f"{address}/healthz")
        assert (code, health["status"], health["galleries"]["available"]) == (200, "degraded", False)
        server.start()
        try:
            until = time.monotonic() + 5
            while ask(f"{address}/healthz")[1]["status"] != "ok":
                assert time.monotonic() < until
                time.sleep(0.02)
            assert ask(f"{address}/v1/galleries")[:2] == (200, [])
        finally:
            server.kill()


def test_a_gallery_is_searched_by_words(api: str, looks: dict[str, np.ndarray]) -> None:
    name = f"lobby-{uuid4().hex}"
    ask(f"{api}/v1/galleries", "POST", {"name": name})
    for who, row in looks.items():
        ask(f"{api}/v1/galleries/{name}/identities", "POST", {"embeddings": [row.tolist()], "name": who})
    at = f"{api}/v1/galleries/{name}/search?text={quote('woman, red top, backpack, umbrella')}"
    until = time.monotonic() + 2
    while len((answer := ask(at))[1].get("candidates", ())) < 3 and time.monotonic() < until:
        time.sleep(0.05)  # the index follows
    code, found, _ = answer
    assert (code, found["candidates"][0]["name"], found["ignored"]) == (200, "Ada", ["umbrella"])
    assert {one["label"] for one in found["candidates"][0]["phrases"]} == {"woman", "red top", "backpack"}
    assert len(ask(f"{at}&top=1")[1]["candidates"]) == 1
    code, said, headers = ask(f"{api}/v1/galleries/{name}/search?text=umbrella")
    assert (code, said["title"]) == (422, "QuestionError")
    assert headers["content-type"] == "application/problem+json"
    assert ask(f"{api}/v1/galleries/{name}/search?text={'x' * 301}")[0] == 422
    assert ask(f"{api}/v1/galleries/nobody-knows/search?text=woman")[0] == 404
    other = f"lobby-{uuid4().hex}"
    ask(f"{api}/v1/galleries", "POST", {"name": other, "dimension": 8, "epoch": "net-1"})
    until = time.monotonic() + 2
    while (answer := ask(f"{api}/v1/galleries/{other}/search?text=woman"))[0] == 404 and time.monotonic() < until:
        time.sleep(0.05)
    assert (answer[0], answer[1]["title"]) == (422, "EpochMismatchError")
