from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from personalake.errors import SettingsError
from personalake.llm.models import Models, Price, Question
from personalake.settings import RoleSettings

MODELS = Models.load(Path(__file__).resolve().parents[2] / "conf" / "models.yaml")


def _question(model: str, **role: Any) -> Question:
    settings = RoleSettings.model_validate({"model": model, **role})
    return Question.model_validate({"label": model, "role": settings, "abilities": MODELS.of(model)})


def test_a_role_says_how_hard_a_model_shall_think_in_the_model_s_own_words() -> None:
    assert _question("gpt-5-mini", reasoning="minimal").body([])["reasoning_effort"] == "minimal"
    body = _question("Qwen/Qwen3-8B", reasoning="off").body([])
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "reasoning_effort" not in _question("gpt-5-mini").body([])


def test_a_model_that_cannot_be_told_is_refused_with_what_is_known() -> None:
    with pytest.raises(SettingsError, match="has no reasoning 'low'"):
        _question("gpt-4o", reasoning="low")
    with pytest.raises(SettingsError, match="known: high, low, medium, minimal"):
        _question("gpt-5", reasoning="lots")


def test_sampling_parameters_are_left_out_where_a_model_refuses_them() -> None:
    assert "temperature" not in _question("o3-mini", temperature=0.5).body([])
    assert _question("gpt-4o-mini", temperature=0.5).body([])["temperature"] == 0.5
    assert _question("gpt-4o-mini", max_tokens=99).body([])["max_completion_tokens"] == 99


def test_a_batch_costs_half_or_what_the_models_file_says() -> None:
    price = Price(input=2.0, cached_input=None, output=8.0, as_of="2026-01-01")
    assert price.for_batch().microusd(1_000, 500, 100) == 1_000 + 400
    dear = Price(input=2.0, cached_input=1.0, output=8.0, batch_input=1.5, batch_output=7.0, as_of="2026-01-01")
    assert dear.for_batch().microusd(1_000, 0, 100) == 1_500 + 700


@pytest.mark.parametrize("text", ["hello", "ñandú 日本語 🙂", "\ud800", "1234567890" * 50])
def test_the_worst_case_counts_a_token_for_each_byte(text: str) -> None:
    price = Price(input=1.0, cached_input=None, output=2.0, as_of="2026-01-01")
    assert price.worst_microusd(text, 10) == len(text.encode("utf-8", "surrogatepass")) + 20
