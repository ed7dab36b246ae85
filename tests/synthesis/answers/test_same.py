from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.errors import PersonalakeError
from personalake.synthesis.answers import same as answers
from personalake.synthesis.answers.same import Same
from personalake.synthesis.answers.text import DIFFERENT, EQUAL
from personalake.synthesis.extract import answer_is
from tests.conftest import SHARED

TOWER = "9^{9^{9^9}}"
DEEP = r"\frac{1}{" * 60 + "2" + "}" * 60
SOLUTIONS = SHARED / "benchmarks" / "gsm8k_model_solutions.jsonl"
PROBLEMS = SHARED / "benchmarks" / "gsm8k_test.jsonl"


@pytest.fixture(scope="module")
def same() -> Iterator[Same]:
    pytest.importorskip("math_verify", reason="the extra `verify` isn't installed")
    with Same(seconds=0.5) as same:
        yield same


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (r"\frac{x^2-1}{x-1}", "x+1", "equal"),
        (r"2\sqrt{3}", r"\sqrt{12}", "equal"),
        (r"2\sqrt{3}\text{ cm}", r"\sqrt{12}", "equal"),
        (r"\{1,2\}", r"\{2,1\}", "equal"),
        ("1, 2", "2, 1", "equal"),
        ("(1,2)", "(2,1)", "different"),
        ("x=5", "5", "equal"),
        ("2x+z=1", "1", "different"),
        ("1<x<2", "(1,2)", "equal"),
        (r"x=\pm 2", "-2, 2", "equal"),
        ("sin x", r"\sin x", "equal"),
        ("7!", "5,040", "equal"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2.0\end{pmatrix}", "equal"),
        (r"\pi", r"\frac{22}{7}", "different"),
        ("2^{1000000}", "2^{1000001}", "different"),
    ],
)
def test_algebra_tells_in_either_order(same: Same, one: str, other: str, said: str) -> None:
    assert same.same(one, other).said == same.same(other, one).said == said


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (TOWER, "timed_out"),
        (DEEP, "timed_out"),
        (r"\sum_{k=1}^{10^9} k^{-2}", "timed_out"),
        ("1" * 10**6, "too_long"),
        (r"\frac{" * 10**5, "too_long"),
        (r"\frac{", "unparsable"),
        ("}{", "unparsable"),
        ("\\", "unparsable"),
        ("\x00", "unparsable"),
        ("\ud800", "unparsable"),
        ("", "unparsable"),
    ],
)
def test_a_hostile_answer_ends_and_the_next_one_is_as_before(same: Same, answer: str, reason: str) -> None:
    began = time.monotonic()
    verdict = same.same(answer, "5")
    assert (verdict.said, verdict.reason) == ("undecided", reason)
    assert same.same("x+x", "2x") == EQUAL
    assert time.monotonic() - began < answers._CLOCK  # a hang is the clock's to end


def test_the_same_million_digits_are_the_same() -> None:
    with Same() as same:
        assert same.same("7" * 10**6, "7" * 10**6 + "\n") == EQUAL


def test_an_answer_that_was_too_much_is_not_tried_again(same: Same) -> None:
    tower = "8^{8^{8^8}}"
    verdicts = [same.same(tower, "5"), same.same("x", tower), same.same(tower, "9^{9}")]
    assert {verdict.reason for verdict in verdicts} == {"timed_out"}
    ended = same.ended
    same.same(tower, "7!")
    assert same.ended == ended


def test_an_answer_larger_than_the_memory_is_no_guess() -> None:
    pytest.importorskip("math_verify", reason="the extra `verify` isn't installed")
    with Same(memory=1 << 27) as same:
        assert same.same("2^{10^{10}}", "5").reason == "too_large"
        assert same.same("x+x", "2x") == EQUAL


def test_pairs_come_back_in_order_and_repeated_ones_are_asked_once(same: Same) -> None:
    before = same.compared
    pairs = [("18", "18.0"), ("y+y", "2y"), ("18", "19"), ("y+y", "2y"), ("y+y", "2y")]
    assert same.many(pairs) == [EQUAL, EQUAL, DIFFERENT, EQUAL, EQUAL]
    assert same.compared == before + 1


def test_threads_may_share_one(same: Same) -> None:
    found: list[str] = []
    work = [
        threading.Thread(target=lambda n=n: found.append(same.same(f"{n}z+z", f"{n + 1}z").said)) for n in (3, 4, 5)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert found == ["equal"] * 3


def test_a_child_that_was_killed_is_replaced(same: Same) -> None:
    same.same("x+x", "2x")
    assert same.pid is not None
    killed = same.pid
    os.killpg(killed, signal.SIGKILL)
    assert same.same("x+x+x", "3x") == EQUAL
    assert same.pid != killed


def test_a_child_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("math_verify", reason="the extra `verify` isn't installed")
    monkeypatch.setattr(answers, "_CLOCK", 1)
    with Same(seconds=3) as same:
        assert same.same("x+x", "2x") == EQUAL
        assert same.pid is not None
        os.killpg(same.pid, signal.SIGSTOP)
        assert same.same("x+x+x", "3x").reason == "timed_out"
        assert same.same("x+x+x", "3x") == EQUAL


def test_an_interrupted_comparison_leaves_nothing_for_the_next_pair(
    same: Same, monkeypatch: pytest.MonkeyPatch
) -> None:
    same.same("x+x", "2x")
    with monkeypatch.context() as patch:
        patch.setattr("personalake.synthesis.answers.same._Child._byte", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            same.same("x+x+x", "3x")
    assert same.same(r"\pi", r"\frac{22}{7}") == DIFFERENT


def _interrupted(_: object) -> bytes:
    raise KeyboardInterrupt


def test_closing_ends_the_child() -> None:
    pytest.importorskip("math_verify", reason="the extra `verify` isn't installed")
    with Same() as same:
        same.same("x+x", "2x")
        pid = same.pid
    assert same.pid is None
    assert pid is not None
    assert _ended(pid)


def test_the_child_ends_with_a_killed_owner() -> None:
    pytest.importorskip("math_verify", reason="the extra `verify` isn't installed")
    script = (
        "import os, signal; from personalake.synthesis.answers.same import Same; same = Same()\n"
        "same.same('x+x', '2x'); print(same.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    owner = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert owner.returncode == -signal.SIGKILL
    assert _ended(int(owner.stdout))


def _ended(group: int) -> bool:
    for _ in range(1_000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_without_math_verify_only_texts_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "find_spec", lambda _: None)
    with Same() as same:
        assert same.same("18", "18.0") == EQUAL
        assert same.same("x+x", "2x").reason == "no_verifier"
        assert same.pid is None


def test_a_broken_math_verify_is_no_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('no parser')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with Same() as same, pytest.raises(PersonalakeError, match="ImportError: no parser"):
        same.same("x+x", "2x")


def test_an_answer_has_a_length_that_python_still_reads() -> None:
    with pytest.raises(ValueError, match="4000 at most"):
        Same(longest=5_000)


def test_classes_are_of_the_same_answers(same: Same) -> None:
    found = same.agree(["18", "x+x", None, "18.0", "2x", "Monday", r"\$18", "17"])
    assert found.classes == ((0, 3, 6), (1, 4), (5,), (7,))
    assert set(found.undecided) == {"words"}


def test_a_hostile_answer_does_not_spoil_a_vote(same: Same) -> None:
    votes = [TOWER, "x+x", DEEP, "2x", "7^{7^{7^{7^7}}}", "1" * 10**6, r"\frac{", "2 x"]
    assert same.agree(votes).classes[0] == (1, 3, 7)


def test_no_answers_have_no_classes() -> None:
    with Same() as same:
        assert same.agree([]).classes == same.agree([None]).classes == ()


votes = st.lists(
    st.none()
    | st.sampled_from(["18", "18.0", "18 km", "18 m", "$18", "50%", "0.5", "50", "Monday", "1/3", "0.333333"]),
    max_size=12,
)


@given(votes, st.integers(0, 99))
def test_classes_partition_the_answers_in_any_order(cast: list[str | None], seed: int) -> None:
    order = random.Random(seed).sample(range(len(cast)), len(cast))
    with Same() as same:
        found = same.agree(cast).classes
        shuffled = same.agree([cast[index] for index in order]).classes
    assert sorted(sum(found, ())) == [index for index, answer in enumerate(cast) if answer is not None]
    assert {frozenset(members) for members in found} == {frozenset(order[at] for at in members) for members in shuffled}
    assert [len(members) for members in found] == sorted(map(len, found), reverse=True)


@pytest.mark.skipif(not PROBLEMS.is_file(), reason="../shared/data/benchmarks is not there")
def test_every_gsm8k_answer_is_found_and_is_itself_in_other_spellings() -> None:
    labels = [answer_is(json.loads(line)["answer"]) for line in PROBLEMS.read_text("utf-8").splitlines()]
    assert len(labels) == 1_319
    with Same() as same:
        for label in labels:
            assert label is not None
            plain = label.replace(",", "")
            spelled = [f"${label}$", f"{plain}.00", rf"\${int(plain):,}", f"{plain} dollars"]
            assert same.many((label, other) for other in spelled) == [EQUAL] * len(spelled)
            assert same.same(label, f"{int(plain) + 1}") == DIFFERENT


@pytest.mark.skipif(
    not SOLUTIONS.is_file(),
    reason=f"the example_model_solutions.jsonl of openai/grade-school-math is not there as ../shared/data/benchmarks/"
    f"{SOLUTIONS.name}",
)
def test_model_solutions_of_gsm8k_are_right_where_their_labels_say_so() -> None:
    rows = [json.loads(line) for line in SOLUTIONS.read_text("utf-8").splitlines()]
    with Same() as same:
        for row in rows:
            label = answer_is(row["ground_truth"])
            assert label is not None
            for solution in (value for value in row.values() if isinstance(value, dict)):
                answer = answer_is(solution["solution"])
                equal = answer is not None and same.same(label, answer) == EQUAL
                assert equal == solution["is_correct"], (label, answer)
        assert same.compared == 0
