"""What a model can do and what it costs, from `conf/models.yaml`; and the request body that follows from it."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from personalake.errors import SettingsError
from personalake.settings import EndpointSettings, RoleSettings


class Price(BaseModel):
    """US dollars for a million tokens, and the day on which somebody looked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    output: float = Field(ge=0)
    batch_input: float | None = Field(default=None, ge=0)
    batch_output: float | None = Field(default=None, ge=0)
    as_of: str

    def for_batch(self) -> Price:
        """The price by the Batch API: as given, or half, as everybody has it who has one."""
        return Price(
            input=self.input / 2 if self.batch_input is None else self.batch_input,
            output=self.output / 2 if self.batch_output is None else self.batch_output,
            as_of=self.as_of,
        )

    def microusd(self, prompt: int, cached: int, completion: int) -> int:
        """Price of one reply in millionths of a dollar, rounded up: dollars a million tokens are millionths a token."""
        cached_price = self.input if self.cached_input is None else self.cached_input
        exact = (prompt - cached) * self.input + cached * cached_price + completion * self.output
        return int(-(-exact // 1))

    def worst_microusd(self, body: str, max_tokens: int) -> int:
        """The most that one reply to the request *body* can cost: no tokenizer makes more tokens than bytes."""
        return self.microusd(len(body.encode("utf-8", "surrogatepass")), 0, max_tokens)


class Abilities(BaseModel):
    """How a model wants to be asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    sampling: bool = True
    reasoning: dict[str, dict[str, Any]] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    price: Price | None = None


class _Models(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, Abilities]


class Models:
    """The models file: the first pattern that fits a model's name says what it can do."""

    def __init__(self, by_pattern: dict[str, Abilities]) -> None:
        self._by_pattern = by_pattern

    @classmethod
    def load(cls, path: Path) -> Models:
        """Read *path*; raises :class:`SettingsError`."""
        try:
            parsed = _Models.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise SettingsError("no such models file", where=str(path), cure="set llm.models to one") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"cannot be read: {' '.join(str(error).split())}", where=str(path)) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"`{place}`: {first['msg']}", where=str(path)) from error
        return cls(dict(parsed.models))

    def of(self, model: str) -> Abilities:
        """The abilities of *model*; the defaults, with no price, where no pattern fits."""
        for pattern, abilities in self._by_pattern.items():
            if fnmatch.fnmatchcase(model, pattern):
                return abilities
        return Abilities.model_validate({})


class Question(BaseModel):
    """Everything about a request that the row doesn't change: the model, its parameters, the reply's schema."""

    model_config = ConfigDict(frozen=True)

    label: str
    role: RoleSettings
    abilities: Abilities
    schema_name: str = ""
    response_schema: dict[str, Any] | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    path: Literal["/chat/completions", "/embeddings"] = "/chat/completions"
    inputs: int = 1
    """So many requests go out as one."""
    endpoint: EndpointSettings | None = None
    """Who is asked instead of the settings' `llm`."""

    @model_validator(mode="after")
    def _knows_how_hard_to_think(self) -> Question:
        level = self.role.reasoning
        if level is not None and level not in self.abilities.reasoning:
            known = ", ".join(sorted(self.abilities.reasoning)) or "none"
            raise SettingsError(
                f"the model {self.role.model!r} has no reasoning {level!r}",
                where="llm.roles",
                cure=f"known: {known}; `reasoning` in models.yaml says what to send for each",
            )
        return self

    def body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """The JSON body of `/chat/completions` for *messages*."""
        role, can = self.role, self.abilities
        body: dict[str, Any] = {"model": role.model, "messages": messages, can.token_limit: role.max_tokens}
        if can.sampling and role.temperature is not None:
            body["temperature"] = role.temperature
        if can.sampling and role.top_p is not None:
            body["top_p"] = role.top_p
        if self.response_schema is not None and can.structured == "json_schema":
            schema = {"name": self.schema_name, "schema": self.response_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.response_schema is not None and can.structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        how_hard = {} if role.reasoning is None else can.reasoning[role.reasoning]
        return {**body, **can.extra_body, **how_hard, **self.extra_body, **role.extra_body}

    def key(self, body: dict[str, Any], sample: int) -> str:
        """The request key: equal for equal questions, whoever asks them and whenever.

        The schema counts even where the model can't be given it, since it decides what is made of the reply.
        """
        return hashlib.sha256(canonical([self.label, body, self.response_schema, sample])).hexdigest()

    def worst_microusd(self, body: str) -> int:
        """The most that one reply to the request *body* can cost; 0 where the model has no price."""
        price = self.abilities.price
        return 0 if price is None else price.worst_microusd(body, self.role.max_tokens)


def canonical(value: object) -> bytes:
    """JSON in one spelling: sorted keys, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def estimate_tokens(text: str) -> int:
    """A prompt's tokens, guessed from its bytes (4 a token, 4 more a message's frame): no vocabulary can be fetched."""
    return len(text.encode("utf-8", "surrogatepass")) // 4 + 4
