"""What schemathesis does not know of this API. Loaded by its command line, by SCHEMATHESIS_HOOKS."""

from typing import Any

import schemathesis

MALFORMED = frozenset({"invalid_body", "invalid_query", "bad_json", "bad_body", "bad_http", "unsupported_media_type"})
"""Codes of a 400 that say: this is not what the OpenAPI document describes."""


@schemathesis.check
def what_the_document_allows_is_well_formed(ctx: Any, response: Any, case: Any) -> bool | None:
    """Of a request that fits the document a 400 may say that a file or a config is wrong, a name taken or a cursor old; not its form.

    `positive_data_acceptance` alone would have the one or the other: a JSON Schema cannot tell what lies on the disk.
    """
    if not case.meta or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return None
    problem = response.json()
    is_too_large = "does not fit into 64 bits" in problem["message"]  # no schema bounds the numbers in a config
    assert problem["details"]["code"] not in MALFORMED or is_too_large, response.text
    return None


@schemathesis.hook
def filter_query(context: Any, query: Any) -> bool:
    """`?limit=` counts as not given, as forms send it; to a JSON Schema it is no number."""
    return not any(value == "" for value in dict(query or {}).values())


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A followed log ends with its run, and a run that was paused has no end. tests/e2e follows logs."""
    if case.operation.path.endswith("/log") and (case.query or {}).get("follow") not in (None, False, "false"):
        case.query["follow"] = False
