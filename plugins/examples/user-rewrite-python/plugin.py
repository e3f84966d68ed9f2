"""user-rewrite: one person, one name, however the cluster writes it.

The same person comes as `CORP\\ann` over SMB, as `ann@corp.example` with Kerberos and as `ann` over
NFS. This filter rewrites the column `user` by regular expressions, so that rules, templates and
reports downstream see one name.
"""

import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log
from wit_world.imports.batches import Batch
from wit_world.imports.types import ConfigError, Description, Edit, Outcome, Verdict

SETTINGS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rules"],
    "properties": {
        "rules": {
            "description": "Tried in order; the first whose pattern is the whole name wins.",
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["pattern", "user"],
                "properties": {
                    "pattern": {
                        "description": "A regular expression of Python's `re`.",
                        "type": "string",
                    },
                    "user": {
                        "description": "The new name; \\1 or \\g<name> is a group of the pattern.",
                        "type": "string",
                    },
                },
            },
        },
        "lower": {
            "description": "Whether a rewritten name is put in lower case.",
            "type": "boolean",
            "default": False,
        },
    },
}


class Filter(exports.Filter):
    """What the host calls. One object lives as long as its instance, so it keeps what `init` made.

    `Err` is how an exception crosses to the host; any other exception that leaves a method ends the
    instance and counts as a fault.
    """

    def __init__(self) -> None:
        self.rules: list[tuple[re.Pattern[str], str]] = []
        self.lower = False

    def describe(self) -> Description:
        return Description(
            name="user-rewrite",
            version="0.1.0",
            summary="Rewrites user names by regular expressions.",
            settings_schema=json.dumps(SETTINGS_SCHEMA),
        )

    def init(self, settings: str) -> None:
        errors: list[ConfigError] = []
        table = json.loads(settings)
        for key in sorted(table.keys() - SETTINGS_SCHEMA["properties"].keys()):
            errors.append(ConfigError(f"/{key}", "unknown key; there are `rules` and `lower`"))
        self.lower = table.get("lower", False)
        if not isinstance(self.lower, bool):
            errors.append(ConfigError("/lower", "must be true or false"))
        rules = table.get("rules")
        if not isinstance(rules, list) or not rules:
            errors.append(ConfigError("/rules" if "rules" in table else "", NO_RULES))
            rules = []
        for index, rule in enumerate(rules):
            read_rule(rule, f"/rules/{index}", self.rules, errors)
        if errors:
            raise Err(errors)
        log.write(log.Level.DEBUG, f"{len(self.rules)} rules")

    def run(self, batch: Batch) -> Outcome:
        # A batch has far fewer users than events: each name is matched once.
        users = batch.coded("user")
        rewritten = [self.rewrite(user) for user in users.values]
        edits = [
            Edit(index, "user", rewritten[code])
            for index, code in enumerate(users.codes)
            if rewritten[code] is not None
        ]
        return Outcome([Verdict.KEEP] * batch.len(), edits, [])

    def rewrite(self, user: str) -> bytes | None:
        """The new name, or None where the name stays as it is."""
        # `coded` gives text: bytes that are not UTF-8 arrive as U+FFFD. Such a name is left alone,
        # for two names that differ could become one.
        if not user or "\N{REPLACEMENT CHARACTER}" in user:
            return None
        for pattern, replacement in self.rules:
            if match := pattern.fullmatch(user):
                new = match.expand(replacement)
                return (new.lower() if self.lower else new).encode()
        return None


NO_RULES = "`rules` must be an array of { pattern = '…', user = '…' } with at least one"


def read_rule(rule, pointer, rules, errors) -> None:
    """Adds a rule to `rules`, or what is wrong with it to `errors`."""
    if not isinstance(rule, dict) or rule.keys() != {"pattern", "user"}:
        errors.append(ConfigError(pointer, "must be { pattern = '…', user = '…' }"))
        return
    for key, text in rule.items():
        if not isinstance(text, str):
            errors.append(ConfigError(f"{pointer}/{key}", "must be a text"))
            return
    try:
        pattern = re.compile(rule["pattern"])
    except re.error as error:
        errors.append(ConfigError(f"{pointer}/pattern", f"is no regular expression: {error}"))
        return
    try:
        pattern.sub(rule["user"], "")  # reads the replacement, whether the pattern matches or not
    except (re.error, IndexError) as error:
        errors.append(ConfigError(f"{pointer}/user", f"is no replacement: {error}"))
        return
    rules.append((pattern, rule["user"]))
