"""A process that closed its engines on another thread still takes Ctrl-C."""

import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import gc, os, signal, threading, time
    from models.detection import DETECTION_NANO
    from models.engine import EngineConfig, load_engine

    engines = [load_engine(DETECTION_NANO, EngineConfig(compiler="openvino"), from_uint8=True)]

    def drop() -> None:
        engines.pop().close()
        gc.collect()

    dropper = threading.Thread(target=drop)
    dropper.start()
    dropper.join()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
"""


@pytest.mark.timeout(60)
def test_ctrl_c_after_the_last_engine_went_on_another_thread() -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert "KeyboardInterrupt" in done.stderr
