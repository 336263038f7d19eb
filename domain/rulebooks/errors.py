"""Error messages for rulebooks: which field is wrong, and what to write there."""

from __future__ import annotations

from tomllib import TOMLDecodeError

from msgspec import ValidationError

from domain.shared.requirements import Mistake, find_mistake


def explain_error(error: Exception, book: type) -> str:
    """What is wrong with a rulebook that could not be converted to ``book``, or could not be read at all."""
    match error:
        case ValidationError():
            return _explain(find_mistake(error, book), wrong_type=", got `" in str(error))
        case RecursionError():
            return "it is nested too deeply."
        case TOMLDecodeError():
            return f"{error}."
        case _:
            return "it holds something that cannot be read, such as a number of thousands of digits."


def _explain(mistake: Mistake, *, wrong_type: bool) -> str:
    match mistake.kind:
        case "missing":
            return f"`{mistake.field}` is missing. Add it."
        case "unknown":
            return f"`{mistake.field}` is not a field. {mistake.requirement}"
        case _ if mistake.field:
            quoted = (
                ", in quotes" if wrong_type and mistake.requirement.startswith(("text", "one line")) else ""
            )
            return f"`{mistake.field}`: write {mistake.requirement}{quoted}."
        case _:
            return f"write {mistake.requirement}."
