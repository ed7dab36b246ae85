from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalake.accept import arrow_schema, judge
from personalake.corpus.wordlist import fold
from personalake.errors import InputError
from personalake.personas import acceptance, capitals, caseless, infer, marks, names
from personalake.personas.acceptance import Acceptance, Lists, Shown
from personalake.personas.words import lines, name_words
from personalake.schemas import PERSONAS
from personalake.settings import AcceptSettings, InferSettings
from tests.personas.told import NAMED, NAMED_ON_THE_PAGE, PAGE, UNNAMED

MARK = "0123456789abcdef01234567"
INFER = InferSettings.model_validate({})
PROMPT = infer.prompt(INFER, ("crafts",))


def acceptance_of(**settings: Any) -> Acceptance:
    return Acceptance(AcceptSettings.model_validate(settings), (PROMPT.system, PROMPT.user))


ACCEPTANCE = acceptance_of()


def reason(
    text: str, language: str | None = "en", page: str = "", title: str = "", accept: Acceptance = ACCEPTANCE
) -> str | None:
    return accept.reason(" ".join(text.split()), text, Shown(page, MARK, language, title))


@pytest.mark.parametrize(("language", "text"), NAMED)
def test_a_persona_that_is_a_named_person_is_refused_without_any_page(language: str, text: str) -> None:
    assert reason(text, language) == "private_person"


@pytest.mark.parametrize("text", NAMED_ON_THE_PAGE)
def test_a_name_is_refused_that_is_a_persons_on_the_page_and_only_there(text: str) -> None:
    assert reason(text, page=PAGE) == "private_person"
    assert reason(text) is None


@pytest.mark.parametrize(("language", "text"), UNNAMED)
def test_places_organisations_periods_works_products_and_languages_are_no_names_of_persons(
    language: str, text: str
) -> None:
    assert reason(text, language) is None
    assert reason(text, language, page=f"{PAGE}\n{text}") is None


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("与张伟共事多年的护士，晚上修理旧收音机，周末整理社区图书馆。", "张伟医生说：“病人要有耐心。”"),
        ("村上の弟子で、古いラジオを直しながら修理の記録をつける若い職人。", "村上さんは町で最後のラジオ職人だ。"),
    ],
)
def test_a_name_without_capitals_is_found_again_that_the_page_makes_a_persons(text: str, page: str) -> None:
    language = "zh" if "的" in text else "ja"
    assert reason(text, language, page) == "private_person"
    assert reason(text, language) is None


@pytest.mark.parametrize(
    "text",
    [
        "A pianist who plays nothing but Clara Schumann and teaches at night.",
        "A tailor who copies each costume of TAYLOR SWIFT for a small theatre.",
        "A reader who walks through Dublin with James Joyce's maps in hand.",
        "ヒーローより宮崎駿が好きで、古い映写機を直す町の映画館の技師。",
    ],
)
def test_public_figures_are_refused_unless_they_are_allowed_and_then_are_no_private_persons(text: str) -> None:
    language = "en" if text.isascii() else "ja"
    assert reason(text, language) == "public_figure"
    assert reason(text, language, accept=acceptance_of(public_figures=True)) is None


def test_the_surname_of_a_public_figure_is_one_where_the_page_has_the_whole_name() -> None:
    text, page = "A teacher who reads Brontë aloud on the moor each autumn.", "The novels of Emily Brontë sold well."
    assert reason(text, page=page) == "public_figure"
    assert reason(text, page=page, accept=acceptance_of(public_figures=True)) is None


def test_an_institute_or_a_street_that_bears_a_public_figures_name_is_no_person() -> None:
    assert reason("A nurse from Albert Einstein Hospital who lives in the rue Victor Hugo.") is None
    assert reason("A nurse who has read all of Albert Einstein and lives in a side street.") == "public_figure"


def test_a_list_of_figures_of_ones_own_replaces_the_packages_or_adds_to_it(tmp_path: Path) -> None:
    own = tmp_path / "figures"
    own.write_text("# ours\nXanthe Orlowsky\n")
    hers, known = "A welder who was taught by Xanthe Orlowsky.", "A pianist who plays Clara Schumann at night."
    only, both = acceptance_of(figures=[str(own)]), acceptance_of(figures=["shipped", str(own)])
    assert [reason(hers), reason(known)] == [None, "public_figure"]
    assert [reason(hers, accept=only), reason(known, accept=only)] == ["public_figure", "private_person"]
    assert [reason(hers, accept=both), reason(known, accept=both)] == ["public_figure"] * 2
    allowed = acceptance_of(figures=[str(own)], public_figures=True)
    assert [reason(hers, accept=allowed), reason(known, accept=allowed)] == [None, "private_person"]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("A gamer who calls every opponent a Motherfucker and keeps score.", "en", "toxic"),
        ("Ein Nachbar, der jeden Hund und jeden Halter ein Arschloch nennt.", "de", "toxic"),
        ("Un vecino que llama gilipollas a cualquiera que aparca en la acera.", "es", "toxic"),
        ("Un voisin qui traite de connard quiconque se gare sur le trottoir.", "fr", "toxic"),
        ("A secretary who, like all women, worries about the kettle at work.", "en", "stereotype"),
        ("Eine Fahrerin, die wie alle Frauen vor dem Einparken zögert.", "de", "stereotype"),
        ("Una conductora que duda al aparcar, como todas las mujeres del barrio.", "es", "stereotype"),
        ("Une conductrice qui hésite, comme toutes les femmes de la rue.", "fr", "stereotype"),
        ("A clerk who likes all women's football and files reports.", "en", None),
    ],
)
def test_insults_and_stereotypes_of_the_packages_lists_are_refused(
    text: str, language: str, expected: str | None
) -> None:
    assert reason(text, language) == expected
    assert reason(text, language, accept=acceptance_of(toxic=[], stereotypes=[])) is None


@pytest.mark.parametrize(
    ("entry", "text", "found"),
    [
        ("Gizmo", "A clerk who says GIZMO whenever a thing has no other name.", True),
        ("gizmo", "A clerk who says gizmos whenever things have no other name.", False),
        ("no  good lot", "A clerk who calls the lodgers a No Good Lot at each meeting.", True),
        ("no good lot", "A clerk who calls them a no good lottery of people at meetings.", False),
        ("don't dare", "A clerk who says don’t dare to the lodgers at each of the meetings.", True),
        ("馬鹿", "同僚を馬鹿と呼び、毎朝の会議で机をたたく会社の事務員である人。", True),
        ("कम", "एक लिपिक जो हर सुबह कमी की बात करता है और काम टालता रहता है।", False),
        ("🖕", "A clerk who signs each of the letters with a 🖕 and files them.", True),
    ],
)
def test_words_and_phrases_of_ones_own_file_are_found_whole_in_any_case_and_script(
    tmp_path: Path, entry: str, text: str, found: bool
) -> None:
    file = tmp_path / "words"
    file.write_text(f"# a list\n{entry}\n", encoding="utf-8")
    language = "en" if text[0] == "A" else None
    for setting, expected in (("toxic", "toxic"), ("stereotypes", "stereotype")):
        accept = acceptance_of(**{setting: [str(file)]})
        assert reason(text, language, accept=accept) == (expected if found else None)


@pytest.mark.parametrize("setting", ["figures", "toxic", "stereotypes"])
def test_a_list_that_is_not_there_is_one_clear_line(setting: str) -> None:
    with pytest.raises(InputError, match=rf"accept\.{setting}: the list nowhere can't be read: No such file"):
        Lists.of(AcceptSettings.model_validate({setting: ["nowhere"]}))


def test_lists_are_read_by_each_task_from_the_folder_of_the_run_and_do_not_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").write_text("kettle\n")
    monkeypatch.chdir(tmp_path)
    here = acceptance_of(toxic=["words"])
    text = "A secretary who worries about the kettle at work and little else."
    assert reason(text, accept=here) == "toxic"
    monkeypatch.undo()
    (tmp_path / "words").write_text("secretary kettle\n")
    assert reason(text, accept=here) == "toxic"
    assert reason(text, accept=pickle.loads(pickle.dumps(here))) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A nurse who repairs old radios at night and talks to the owls.", "de"),
        ("A nurse who repairs old radios at night and talks to the owls.", "ja"),
        ("A nurse who repairs old radios at night and talks to the owls.", "ru"),
        ("Eine Pflegerin, die nachts alte Radios repariert und mit den Eulen spricht.", "en"),
        ("Une infirmière qui répare de vieux postes et parle aux chouettes de la forêt.", "es"),
        ("看護師として働きながら、夜は古いラジオを直している人である。", "zh"),
        ("夜间修理旧收音机的护士，周末整理社区图书馆，也喜欢跟邻居聊天。", "ja"),
        ("夜间修理旧收音机的护士，周末整理社区图书馆，也喜欢跟邻居聊天。", "en"),
        ("Медсестра, которая по ночам чинит старые радиоприёмники и говорит с совами.", "en"),
    ],
)
def test_a_persona_in_another_language_than_the_one_wanted_is_refused(text: str, language: str) -> None:
    assert reason(text, language) == "language"
    assert reason(text, None) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Backend-Entwickler, Python, Docker, Kubernetes, Continuous Integration.", "de"),
        ("En sykepleier som reparerer gamle radioer om natten og snakker med ugler.", "da"),
        ("Pythonで機械学習のライブラリDockerとKubernetesを使う技術者。", "ja"),
        ("Una enfermera que toca jazz and blues en New York con su banda The Owls.", "es"),
        ("A scholar of the Latin phrase et in Arcadia ego, sed non solum.", "en"),
    ],
)
def test_terms_and_names_of_another_language_are_no_other_language(text: str, language: str) -> None:
    assert reason(text, language) is None


def test_where_the_pages_own_language_was_asked_for_a_page_under_the_wrong_code_keeps_its_personas() -> None:
    page = "Die Pflegerin repariert nachts alte Radios, denn sie schläft schlecht und hört gern den Eulen zu. " * 4
    text = "Eine Pflegerin, die nachts alte Radios repariert und mit den Eulen spricht."
    assert ACCEPTANCE.reason(text, text, Shown(page, MARK, "en", own_language=True)) is None
    assert ACCEPTANCE.reason(text, text, Shown(page, MARK, "en")) == "language"


SPOKEN = [
    ("en", "A nurse at heart, my nights go into old radios and owls."),
    ("de", "Eine Pflegerin, und nachts repariere ich die alten Radios."),
    ("es", "Una enfermera que repara radios; por la noche hablo con mis lechuzas."),
    ("fr", "Une infirmière, et la nuit je répare de vieux postes de radio."),
    ("it", "Un'infermiera che di notte ripara le radio dei miei vicini di casa."),
    ("pt", "Uma enfermeira que à noite conserta os rádios dos meus vizinhos."),
    ("nl", "Een verpleegkundige, en 's nachts repareer ik oude radio's."),
    ("pl", "Jestem pielęgniarką i nocami naprawiam stare radia sąsiadów."),
    ("ru", "Медсестра, и по ночам я чиню старые радиоприёмники соседей."),
    ("sv", "En sjuksköterska, och om nätterna lagar jag gamla radioapparater."),
    ("da", "En sygeplejerske, og om natten reparerer jeg gamle radioer."),
    ("no", "En sykepleier, og om natten reparerer jeg gamle radioer."),
    ("nb", "En sykepleier, og om natten reparerer jeg gamle radioer."),
    ("fi", "Olen sairaanhoitaja ja korjaan öisin vanhoja radioita."),
    ("tr", "Bir hemşire; geceleri komşuların eski radyoları bana gelir."),
    ("ja", "私は看護師で、夜は古いラジオを直しながら過ごしています。"),
    ("zh", "我是一名护士，晚上修理旧收音机，周末整理社区图书馆。"),
    ("ko", "저는 간호사이고 밤에는 오래된 라디오를 고치며 지냅니다."),
    ("ar", "أنا ممرضة أصلح أجهزة الراديو القديمة في الليل وأجمع الكتب."),
    ("hi", "मैं एक नर्स हूँ और रात में पुराने रेडियो ठीक करती हूँ।"),
]


@pytest.mark.parametrize(("language", "text"), SPOKEN)
def test_the_first_person_is_told_in_each_language(language: str, text: str) -> None:
    assert reason(text, language) == "first_person"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("it", "Un astronomo che osserva Io e le altre lune di Giove ogni notte."),
        ("pt", "Uma jurista que explica os tratados da UE e as normas EU de segurança."),
        ("ja", "私立高校で教え、公私の区別をきちんとつける数学の教師である。"),
        ("zh", "研究我国历史的教师，注重自我反省，周末整理社区图书馆。"),
        ("ko", "하늘을 나는 새를 관찰하고 기록하는 은퇴한 지리 교사."),
        ("tr", "Yüzündeki ben yüzünden doktora giden ve geceleri radyo onaran bir hemşire."),
        ("fr", "Un professeur qui étudie le règne de Louis I et la ville de Metz."),
    ],
)
def test_words_that_only_look_like_a_first_person_are_taken(language: str, text: str) -> None:
    assert reason(text, language) is None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that request today.",
        "Unfortunately, the text does not point to any specific person.",
        "Es tut mir leid, dazu kann ich nichts sagen, was hilft.",
        "Lo siento, pero no puedo ayudar con esta solicitud hoy.",
        "Désolé, je ne peux pas répondre à cette demande aujourd'hui.",
        "Mi dispiace, ma non posso aiutare con questa richiesta.",
        "Desculpe, não posso ajudar com este pedido hoje, infelizmente.",
        "Het spijt me, maar daar kan niemand iets over zeggen.",
        "Przepraszam, ale nie mogę pomóc w tej sprawie dzisiaj.",
        "К сожалению, текст не указывает ни на одного человека.",
        "Üzgünüm, bu konuda yardımcı olmak mümkün değil bugün.",
        "Tyvärr går det inte att beskriva någon person här i dag.",
        "申し訳ありませんが、そのご要望にはお応えすることができません。",
        "抱歉，这个请求没有办法完成，请换一个问题再来试试看。",
        "죄송하지만 그 요청에는 도움을 드릴 수 없습니다. 다시 시도해 주세요.",
        "عذراً، لا يمكن المساعدة في هذا الطلب اليوم لأسباب عديدة.",
        "क्षमा करें, इस अनुरोध में आज सहायता करना संभव नहीं है।",
    ],
)
def test_a_refusal_as_text_is_one_in_each_of_the_big_languages(text: str) -> None:
    assert reason(text, None) == "refusal"


@pytest.mark.parametrize(
    "text",
    [
        "- A nurse who repairs radios\n- A baker who sings at night",
        "1. A nurse who repairs old radios\n2. A baker who sings",
        "1) A nurse who repairs old radios 2) A baker who sings at night",
        '["A nurse who repairs old radios", "A baker who sings"]',
        '{"persona": "A nurse who repairs old radios at night"}',
        "Persona 1: a nurse who repairs radios. Persona 2: a baker who sings.",
        "• A nurse who repairs radios • A baker who sings at night • A tailor",
    ],
)
def test_a_list_inside_a_string_is_refused(text: str) -> None:
    assert reason(text) == "list_in_text"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A clerk called [nombre del trabajador] who files old reports.", "placeholder"),
        ("記録を整理する○○さんという事務員で、夜はラジオを直して暮らす人。", "placeholder"),
        ("A nurse who answers calls at 0043 1 234 5678 on her nights off.", "contact_data"),
        ("Eine Pflegerin, zu erreichen unter Telefon 0316 234567, mit Hund.", "contact_data"),
        ("A nurse who writes as @nightowl42 about radios and the ward.", "contact_data"),
        ("A nurse who has cared for 12,345,678 patients in 1998 and 2004.", None),
        ("A nurse who \x00 repairs old radios and talks to the owls at night.", "escape_damage"),
        ("A nurse who repairs old radios \ufffd\ufffd and talks to the owls.", "escape_damage"),
        (f"A nurse. {PROMPT.system[400:520]}", "prompt_repeated"),
        ("A person who describes a kind of person that this text singles out today.", "prompt_repeated"),
    ],
)
def test_blanks_contacts_damage_and_the_prompts_own_words_are_found_in_any_language(
    text: str, expected: str | None
) -> None:
    assert reason(text, None) == expected


def test_a_prompt_of_ones_own_is_told_from_a_persona_in_a_script_without_spaces() -> None:
    rules = "次のページを読み、そのページを書きそうな人物を三人まで挙げて、それぞれを一文で説明してください。"
    accept = Acceptance(AcceptSettings.model_validate({}), (rules,))
    assert reason(f"看護師。{rules[8:40]}", "ja", accept=accept) == "prompt_repeated"
    assert reason("そのページを書く看護師で、夜は古いラジオを直して過ごしている人。", "ja", accept=accept) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How to repair an old valve radio at night", "is_title"),
        ("“How to Repair an Old Valve Radio at Night.”", "is_title"),
        ("A page: how to repair an old valve radio at night", "is_title"),
        ("A nurse who explains how to repair an old valve radio at night to her neighbours.", None),
    ],
)
def test_a_title_is_no_persona_even_with_a_little_around_it(text: str, expected: str | None) -> None:
    assert reason(text, title="How to repair an old valve radio at night") == expected


def test_two_thousand_words_and_a_megabyte_are_too_long_before_anything_else_is_looked_for() -> None:
    assert reason("A nurse who repairs radios and " * 400) == "too_long"
    assert reason("[x" * 500_000) == "too_long"


def test_every_shipped_entry_does_its_work() -> None:
    for name, expected in (("toxic", "toxic"), ("stereotypes", "stereotype"), ("public_figures", "public_figure")):
        for entry in lines(name):
            assert reason(f"That quiet clerk, {entry}, and a cup of weak tea at noon.", None) in (
                expected,
                "public_figure",
            ), entry
    known = name_words()
    assert not known.given & known.given_too
    assert len(known.given) > 2_000


TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(st.characters(codec=None), max_size=80),
    st.lists(
        st.sampled_from(
            "A a who nurse Anna Schmidt Dr. Frau named i my [NAME] @x 1. 2) === system prompt ai ignore your as all "
            "women like \ud83d \u202e مرحبا 田中さん 私は 我 Karl Marx J. R. von den Institute http:// +49 1234567 "
            "\x08 \t x XXX 🙂 "
            "Große l'École O'Neill д'Артаньян Ивановна ǅ İ ß ŉ Jean-Luc ’s".split(" ")
        ),
        max_size=14,
    ).map(" ".join),
)


@given(
    TEXTS,
    st.sampled_from([None, "en", "de", "ja", "zh", "tr", "xx"]),
    st.sampled_from(["", PAGE, "田中さん", "\ud800"]),
)
def test_no_text_crashes_the_checks(text: str, language: str | None, page: str) -> None:
    for accept in (ACCEPTANCE, acceptance_of(min_chars=1, public_figures=True)):
        accept.reason(" ".join(text.split()), text, Shown(page, MARK, language, text[:20], own_language=True))


@given(TEXTS, st.sampled_from([None, "en", "de", "fr", "it", "pl", "ru", "tr", "fi", "nb", "zh"]))
def test_what_is_looked_for_first_hides_nothing(text: str, language: str | None) -> None:
    folded = fold(text)
    words = acceptance._words(folded)
    caseless_ = caseless.CASELESS.search(text) is not None
    if not (marks.signs(text) or caseless_):
        assert marks.spoilt(text) is None
        if marks.words(language).isdisjoint(words):
            assert marks.unfit(text, language) is None
    capitalised = names._CAPITALISED.findall(text)
    if not names._may_name(text, capitalised, words, name_words()):
        assert [each.name() for each in capitals.sequences(text) if each.name()] == []


def _answer(ordinal: int, *texts: str) -> dict[str, Any]:
    persona: dict[str, Any] = {
        "evidence": "mends the wheel", "relation": "read", "occupation": None, "domain": "crafts", "expertise": None,
        "interests": [], "age_band": None, "region": None,
    }  # fmt: skip
    return {
        "request_key": f"k{ordinal}", "origin_id": f"d{ordinal}", "sample": 0, "prompt_id": "p", "body": "{}",
        "request_id": "r", "prompt_tokens": 1, "completion_tokens": 1, "reasoning_tokens": 0, "cached_tokens": 0,
        "cost_microusd": 7, "answered_at": 1 if ordinal % 5 else None, "error": None if ordinal % 3 else "refusal",
        "error_detail": None, "reply": json.dumps({"personas": [{**persona, "persona": text} for text in texts]}),
        "model": "m", "text": PAGE, "title": "t", "language": "en", "url": "u", "path": "f", "licence": None,
    }  # fmt: skip


@given(st.lists(st.lists(TEXTS, max_size=4), min_size=1, max_size=8), st.integers(1, 7))
def test_outcomes_do_not_depend_on_the_size_of_a_batch_and_any_text_can_be_written(
    replies: list[list[str]], size: int
) -> None:
    read = infer.PageReader(INFER, AcceptSettings.model_validate({}), ("crafts",), 0, PROMPT).read
    item = arrow_schema(PERSONAS)
    table = pa.Table.from_pylist([_answer(number, *texts) for number, texts in enumerate(replies)])
    whole = [batch for batch in judge(table.combine_chunks().to_batches(), read, item)]
    parts = [batch for batch in judge(table.to_batches(max_chunksize=size), read, item)]
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches(whole))
    assert sum(pa.Table.from_batches(whole)["first"].to_pylist()) == len(replies)


def test_half_a_surrogate_pair_is_damage_wherever_it_stands_in_a_persona() -> None:
    read = infer.PageReader(INFER, AcceptSettings.model_validate({}), ("crafts",), 0).read
    good = _answer(1, "A nurse who repairs old radios at night and talks to the owls.")
    for key in ("persona", "occupation", "evidence"):
        reply = json.loads(good["reply"])
        reply["personas"][0][key] = "half \ud83d"
        ((_, refused),) = read([{**good, "reply": json.dumps(reply)}])[0].items
        assert getattr(refused, "reason", None) == "escape_damage"
        assert "ud83d" in str(getattr(refused, "raw", ""))
