"""The SDK's error classes and what each would be judged: printed into `sdk_errors.txt`, compared by its test."""

import inspect
import re

import anthropic
import anthropic.lib.foundry

from claude_lab.retry import Failure, classify, kind_of

LITERAL = re.compile(r"Literal\[['\"]([^'\"]+)['\"]\]")


def below(base: type) -> list[type]:
    """Every class below a class, however deep."""
    return [each for child in base.__subclasses__() for each in (child, *below(child))]


def literal(cls: type, name: str) -> str | None:
    """The literal a class declares for an attribute, or None."""
    for each in cls.__mro__:
        if found := LITERAL.search(str(inspect.get_annotations(each).get(name))):
            return found[1]
    return None


def row(cls: type) -> str:
    """Name, status, error code, kind and verdict of one class."""
    status = getattr(cls, "status_code", 500)
    code = literal(cls, "error_code")
    failure = Failure(kind_of(status), status=status, error_code=code)
    return f"{cls.__name__} {status} {code or '-'} {failure.kind} {'retry' if classify(failure).retryable else 'stop'}"


def rows() -> list[str]:
    """One row for each status error of the installed SDK, sorted."""
    return sorted({row(cls) for cls in below(anthropic.APIStatusError)})


if __name__ == "__main__":
    print("\n".join(rows()))
