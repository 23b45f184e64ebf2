"""The writes, as Lua scripts in `gallery/lua`: each is one atomic step, on keys of one hash slot."""

from importlib.resources import files

__all__ = [
    "APART",
    "CONFIGURE",
    "CREATE",
    "CROP",
    "CROPS",
    "DROP",
    "ENROL",
    "EXPIRE",
    "LACKING",
    "LOAD",
    "MERGE",
    "NAME",
    "OPEN",
    "PURGE",
    "REMOVE",
    "REPORT",
    "SETTLE",
    "SIGHTINGS",
    "SPLIT",
    "STAGE",
    "SWITCH",
    "UNDO",
]


def _script(*names: str) -> str:
    folder = files("gallery") / "lua"
    return "\n".join((folder / f"{name}.lua").read_text(encoding="utf-8") for name in names)


CREATE = _script("prelude", "create")
CONFIGURE = _script("prelude", "configure")
ENROL = _script("prelude", "enrol")
APART = _script("prelude", "apart")
MERGE = _script("prelude", "moving", "merge")
SPLIT = _script("prelude", "moving", "split")
UNDO = _script("prelude", "moving", "undo")
REMOVE = _script("prelude", "remove")
CROPS = _script("prelude", "crops")
CROP = _script("prelude", "crop")
NAME = _script("prelude", "name")
EXPIRE = _script("prelude", "expire")
DROP = _script("prelude", "drop")
PURGE = _script("prelude", "purge")
SIGHTINGS = _script("prelude", "sightings")
OPEN = _script("prelude", "open")
STAGE = _script("prelude", "stage")
SWITCH = _script("prelude", "switch")
SETTLE = _script("prelude", "settle")
LACKING = _script("lacking")
LOAD = _script("load")
REPORT = _script("report")
