"""plugin-name: drops what is done to temporary files, those whose path ends in one of some suffixes.

Put your own filter in its place, and into `cases/` what it is to say of your audit lines. The
interface is wit/plugin.wit.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.batches import Batch
from wit_world.imports.types import ConfigError, Description, Outcome, Verdict

SETTINGS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "suffixes": {
            "description": "What the path of a temporary file ends in",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [".tmp"],
        },
    },
}


# What the settings say. Each call has a `Filter` of its own, so what is to last stands here.
suffixes: tuple[bytes, ...] = ()


class Filter(exports.Filter):
    """What the host calls.

    `Err` is how an exception crosses to the host; any other exception that leaves a method ends the
    instance and counts as a fault.
    """

    def describe(self) -> Description:
        return Description(
            name="plugin-name",
            version="0.1.0",
            summary="Drops what is done to temporary files",
            settings_schema=json.dumps(SETTINGS_SCHEMA),
        )

    def init(self, settings: str) -> None:
        global suffixes
        table = json.loads(settings)
        errors = [
            ConfigError(f"/{key}", "unknown key; there is `suffixes`")
            for key in sorted(table.keys() - SETTINGS_SCHEMA["properties"].keys())
        ]
        given = table.get("suffixes", [".tmp"])
        if not isinstance(given, list):
            errors.append(ConfigError("/suffixes", "must be an array of texts"))
            given = []
        for index, suffix in enumerate(given):
            if not isinstance(suffix, str) or not suffix:
                message = "must be a text, and no empty suffix: every path ends in that"
                errors.append(ConfigError(f"/suffixes/{index}", message))
        if errors:
            raise Err(errors)
        suffixes = tuple(suffix.encode() for suffix in given)

    def run(self, batch: Batch) -> Outcome:
        # Paths are bytes: names of files need not be UTF-8.
        paths = batch.bytes("path")
        verdicts = []
        start = 0
        for end in paths.ends:
            temporary = paths.bytes[start:end].endswith(suffixes)
            verdicts.append(Verdict.DISCARD if temporary else Verdict.KEEP)
            start = end
        return Outcome(verdicts, [], [])
