from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalake.synthesis.answers.same import Same
from personalake.verify import judged


@pytest.fixture(scope="module")
def same() -> Iterator[Same]:
    with Same() as found:
        yield found


def _judged(same: Same, kinds: int, **answers: list[str | None]) -> tuple[bool, float, dict[str, Any]]:
    given_answers = [
        {"solver": solver, "sample": sample, "answer": answer, "model": solver.partition("_")[0], "prompt_id": "p"}
        for solver, each in sorted(answers.items())
        for sample, answer in enumerate(each)
    ]
    found = judged({"example_id": "e", "answers": given_answers}, kinds, same)
    return found["passed"], found["score"], json.loads(found["evidence"])


def test_two_kinds_that_agree_outdo_one_kind_that_is_more_often_of_one_mind(same: Same) -> None:
    passed, score, evidence = _judged(same, 2, cot=["7", "7", "7", "8"], pot=["8.0"])
    assert (passed, score) == (True, 2 / 5)
    assert evidence == {"answer": "8", "agree": ["cot#3", "pot#0"], "of": 5, "undecided": []}


def test_one_kind_alone_verifies_nothing_however_often_it_says_so(same: Same) -> None:
    passed, score, evidence = _judged(same, 2, cot=["7", "7", "7"], pot=["9"])
    assert (passed, score, evidence["answer"]) == (False, 3 / 4, "7")
    assert _judged(same, 1, cot=["7"], pot=[])[0]


def test_two_roles_of_one_model_and_prompt_are_one_kind(same: Same) -> None:
    assert not _judged(same, 2, cot_a=["7"], cot_b=["7"])[0]
    assert _judged(same, 2, cot_a=["7"], cot_b=["7"], other=["7"])[0]


def test_an_example_without_an_answer_is_not_verified(same: Same) -> None:
    passed, score, evidence = _judged(same, 2, cot=[None, None], pot=[None])
    assert (passed, score, evidence["agree"], evidence["answer"]) == (False, 0.0, [], None)


@settings(max_examples=50)
@given(st.lists(st.sampled_from("1234"), min_size=1, max_size=6), st.lists(st.sampled_from("1234"), max_size=6))
def test_what_passes_is_in_the_answers_of_as_many_kinds(same: Same, cot: list[str], pot: list[str]) -> None:
    passed, score, evidence = _judged(same, 2, cot=list(cot), pot=list(pot))
    assert passed == bool(set(cot) & set(pot))
    assert score == len(evidence["agree"]) / (len(cot) + len(pot))
    if passed:
        assert evidence["answer"] in set(cot) & set(pot)
        assert score == (cot.count(evidence["answer"]) + pot.count(evidence["answer"])) / (len(cot) + len(pot))
