from __future__ import annotations

from pathlib import Path

import pytest

from personalake.errors import InputError
from personalake.personas import infer
from personalake.prompts import Prompt
from personalake.settings import InferSettings

OWN = "system: Say who.\nuser: |\n  {{page.mark}}\n  {{page.text}}\n  {{page.mark}}\n"


def _prompt(folder: Path, content: str) -> Prompt:
    file = folder / "mine.yaml"
    file.write_text(content, encoding="utf-8")
    return infer.prompt(InferSettings.model_validate({"prompt": str(file)}), ("crafts",))


def test_a_prompt_of_ones_own_takes_the_place_of_the_packages_and_is_another_version(tmp_path: Path) -> None:
    mine = _prompt(tmp_path, OWN)
    assert mine.system == "Say who."
    assert mine.prompt_id != infer.prompt(InferSettings.model_validate({}), ("crafts",)).prompt_id


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user: '{{page.text}}'\n", "{{page.mark}}"),
        ("user: '{{page.mark}}'\n", "{{page.text}}"),
        (OWN + "note: more\n", "is no prompt"),
        ("- a list\n", "is no prompt"),
        ("user: [\n", "can't be read"),
        (OWN.replace("Say who.", "Say {{persona.text}}."), "{{persona.text}}"),
        ("system: only\n", "is no prompt"),
    ],
)
def test_a_prompt_that_would_leave_something_out_is_refused_in_one_line(
    tmp_path: Path, content: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        _prompt(tmp_path, content)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_prompt_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        infer.prompt(InferSettings.model_validate({"prompt": str(tmp_path / "nowhere.yaml")}), ("crafts",))
