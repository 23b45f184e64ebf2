"""The demo's account of frames: outcomes and deliveries may come in either order."""

import time

from foveal.demo.account import DemoAccount, StreamAccount
from foveal.demo.live import live_table
from foveal.demo.report import summarize
from foveal.results import Result
from streams.messages import DeadOffset, DroppedOffset, DropReason, Outcome, PeopleResult
from streams.records import Origin


def outcome(**lists: object) -> Outcome:
    fields = {"results": (), "drops": (), "deadletters": ()} | lists
    return Outcome(group="g", input_topic="frames", partition=0, ended_at_ns=1, **fields)  # type: ignore[arg-type]


def result(seq: int, offset: int) -> Result:
    captured_at_ns = time.time_ns()
    message = PeopleResult(stream_id="door", seq=seq, captured_at_ns=captured_at_ns, width=8, height=8, people=())
    return Result("people", Origin("frames", 0, offset), message, b"", captured_at_ns // 1_000_000 + 25)


def test_every_frame_ends_once_whatever_comes_first() -> None:
    account = DemoAccount([StreamAccount("door", "frames")])
    door = account.streams["door"]
    account.add_outcome(outcome(results=((0, 1),)))  # before its deliveries
    for seq in range(4):
        account.delivered("door", seq, 0, seq)
    assert door.lag == 2
    account.add_outcome(
        outcome(
            drops=(DroppedOffset(offset=2, reason=DropReason.STALE, age_ms=1204),),
            deadletters=(DeadOffset(offset=3, error="PayloadError"),),
        )
    )
    assert door.lag == 0
    assert not account.settled(), "two frames are answered, and their results have not been read"
    for seq in range(2):
        account.add_result(result(seq, seq))
    assert account.settled()
    assert door.drops == {2: "stale 1,204 ms"}
    assert door.deadletters == {3: "PayloadError"}
    latency = door.latency_ms(95)
    assert latency is not None
    assert 24 <= latency <= 26
    assert live_table(account).row_count == 1
    figures = summarize(account, {"door": "door.mp4"}, {"offsets": 4})["streams"]["door"]
    assert (figures["results"], figures["drops"], figures["deadletters"]) == (2, 1, 1)


def test_a_result_of_another_stream_is_passed_over() -> None:
    account = DemoAccount([StreamAccount("street", "frames")])
    account.add_result(result(0, 0))
    assert account.streams["street"].results == 0
