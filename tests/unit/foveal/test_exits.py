"""Which error ends a command with which code."""

import pytest

from actors.errors import ConfigError
from foveal.exits import Exit, exit_code_of
from foveal.media import SourceError
from streams.errors import BrokerUnavailableError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerUnavailableError("no broker"), Exit.UNREACHABLE),
        (ConfigError("streams.x: unknown"), Exit.USAGE),
        (SourceError("source: not there"), Exit.USAGE),
        (ValueError("a defect, to be seen with its trace"), None),
        (ConnectionError("of some library"), None),
    ],
)
def test_codes(error: Exception, code: Exit | None) -> None:
    assert exit_code_of(error) is code
