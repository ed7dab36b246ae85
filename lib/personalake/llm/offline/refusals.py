"""The errors that the endpoint answers with, in OpenAI's shape (``{"error": {message, type, param, code}}``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RefusalError(Exception):
    """A request that is answered with an error body; *headers* go with it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.headers = status, dict(headers or {})
        self.body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        super().__init__(message)

    @classmethod
    def of(cls, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> RefusalError:
        """Return the error with a *body* of another shape than OpenAI's."""
        made = cls(status, "refused", headers=headers)
        made.body = body
        return made


def invalid(message: str, param: str | None, code: str | None = None) -> RefusalError:
    """Return the 400 for one bad parameter."""
    return RefusalError(400, message, param=param, code=code)


def not_json() -> RefusalError:
    """Return the 400 for a body that is not a JSON object."""
    return invalid("We could not parse the JSON body of your request: the API expects a JSON object.", None)


def missing(param: str) -> RefusalError:
    """Return the 400 for a required parameter that isn't there."""
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def wrong_type(param: str, expected: str, value: object) -> RefusalError:
    """Return the 400 for a value of another JSON type."""
    got = _TYPE_NAMES.get(type(value), "an unknown value")
    return invalid(f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param, "invalid_type")


def unknown_value(param: str, value: object, allowed: tuple[str, ...]) -> RefusalError:
    """Return the 400 for a value outside of an enumeration."""
    names = ", ".join(repr(name) for name in allowed)
    return invalid(f"Invalid value: '{value}'. Supported values are: {names}.", param, "invalid_value")


def no_model(model: object) -> RefusalError:
    """Return the 404 for a model that isn't served."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return RefusalError(404, message, code="model_not_found")


SHOWN_FROM = 12


def no_key() -> RefusalError:
    """Return the 401 for a request without a bearer key."""
    return RefusalError(401, "You didn't provide an API key: send it as 'Authorization: Bearer YOUR_KEY'.")


def wrong_key(key: str) -> RefusalError:
    """Return the 401 for a key that isn't on the list, most of which is masked."""
    shown = key[:3] + "*" * 8 + key[-4:] if len(key) > SHOWN_FROM else "*" * len(key)
    return RefusalError(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")


_TYPE_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a decimal",
    bool: "a boolean",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
