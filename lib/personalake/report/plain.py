"""Plain words for the codes that the store uses: typed reasons, stages, relations, languages, causes of waste."""

from __future__ import annotations

REASONS = {
    # pages
    "too_short": "Less text than the settings ask for.",
    "too_long": "More text than the settings allow.",
    "truncated": "The record ends before its stated length: the file was cut, or the crawl stopped in the middle.",
    "not_json": "The line isn't valid JSON.",
    "not_parquet": "The file isn't Parquet that can be read.",
    "empty_text": "Its text is empty.",
    "http_status": "The server answered with an error or a redirect, so there is no page.",
    "not_html": "The record isn't a web page but an image, a PDF or the like.",
    "empty_body": "The record has no content.",
    "no_text": "Nothing was left of the page once menus and markup were taken away.",
    "too_large": "The record or reply is, or unpacks to, more bytes than the settings allow.",
    "bad_encoding": "The bytes aren't text in the encoding that the page states, nor in a likely one.",
    "bad_record": "The record breaks the rules of its format and can't be read.",
    "unsupported_file": "The file is of a kind that the corpus readers don't know.",
    "unreadable_file": "The file couldn't be opened or read.",
    "missing_field": "A field that the reader needs isn't there.",
    "forgotten": "This page was removed on request earlier and stays out.",
    "vanished": "The file was gone between listing and reading; it is read once it is back.",
    "bad_row": "The row has more values than the first row names.",
    "opted_out": "The page says that nobody may mine it (noai, or a TDM reservation).",
    "blocked_domain": "Its address is on a list of domains that aren't wanted.",
    "blocked_word": "It has a word or phrase of a list that isn't wanted.",
    "licence": "Its licence isn't among those wanted, or it names none.",
    "language": "It is in a language that isn't wanted.",
    "boilerplate": "It is a placeholder or a notice of a server, no page of its own.",
    "symbols": "It has too many hashes and ellipses for its words.",
    "few_letters": "It is mostly digits and signs.",
    "repetition": "It says the same lines or words over and over.",
    "list": "Nearly all its lines are items of a list.",
    "cut_lines": "Many of its lines end in an ellipsis: teasers of other pages.",
    "corrupt": "A part of the file is damaged and can't be unpacked or read.",
    "empty_file": "The file has no record.",
    "too_deep": "Its elements are nested deeper than any real page's.",
    "not_text": "It is a binary file, or decodes to signs that make no text.",
    "not_an_object": "The line is JSON, but no object with fields.",
    "bad_http": "The record holds no HTTP response.",
    # replies
    "invalid_json": "The reply was to be JSON and doesn't parse, even after one request to mend it.",
    "schema": "The reply is JSON but not of the shape that was asked for.",
    "invalid_schema": "The reply is JSON but not of the shape that was asked for, even after one request to mend it.",
    "tool_call": "The model called a tool instead of writing.",
    "tool_use_failed": "The endpoint couldn't make sense of the model's call of a tool.",
    "refusal": "The model declined to answer.",
    "content_filter": "The provider's content filter withheld the reply.",
    "length": "The reply was cut at the token limit before it was complete.",
    "empty_reply": "The endpoint answered with no text.",
    "request_too_large": "The request is longer than the model or the account takes.",
    "bad_request": "The endpoint refused this request; the stored detail says why.",
    "escape_damage": "LaTeX or code was destroyed by JSON escapes on its way.",
    "missing_tag": "A part of the reply that was to stand between tags isn't there.",
    # personas
    "first_person": "It speaks of itself as “I” or “we”; a persona is told in the third person.",
    "placeholder": "It still has a blank to fill in, such as [name], or marks of a template, of markup or of code.",
    "prompt_leak": "It repeats the prompt, or gives an order to a model, as a page may have told it to.",
    "contact_data": "It has an e-mail address, a telephone number or the like.",
    "private_person": "It points to one real, private person.",
    "evidence_not_in_page": "The words that it quotes aren't on the page, so it isn't grounded there.",
    "wrong_language": "It is in another language than the one asked for.",
    "instruction_leak": "It repeats the instructions instead of following them.",
    "not_a_persona": "It doesn't describe a person.",
    "same_as_parent": "It has the occupation of the persona that it was asked of, and no other age.",
    "judged_low": "The judge gave it a lower score than the settings ask for.",
    "surplus": "The reply has more personas than were asked for.",
    "is_title": "It is the page's title, not a person.",
    "none_found": "Nobody was found.",
    # vectors
    "no_vector": "The reply isn't a vector; the persona is compared by its words alone.",
    "not_finite": "The vector holds a number that is infinite or none; the persona is compared by its words alone.",
    "zero_vector": "The vector points nowhere; the persona is compared by its words alone.",
    # examples
    "no_leak": "It recites the persona that should only have shaped it.",
    "no_solution": "The problem gives its own solution away.",
    "single_question": "It asks no question, or more than one.",
    "no_answer": "No final answer could be taken from the reply.",
    "unbalanced_math": "Its LaTeX has a bracket or a dollar sign too many or too few.",
    "unbalanced_code": "A code block in it is never closed.",
}  # fmt: skip
"""Typed reason to one sentence for a person; a reason that isn't here is shown by its name."""

STAGES = {
    "ingest": "reads the records of the corpus files and keeps the pages that are fit to use",
    "infer": "asks the model who would write, read, like or dislike each page",
    "import": "takes the personas of your own files as they are",
    "expand": "asks the model who is in close relation to each persona",
    "judge": "asks a model how usable each persona is",
    "embed": "asks an embedding model for the vector of each persona, by which those that mean the same are found",
    "dedup": "keeps one of the personas that say the same",
    "synthesize": "lets the personas write",
    "solve": "lets a model answer what the personas wrote",
    "verify": "looks where answers of several kinds of solver agree; what doesn't is flagged, and kept",
    "try": "what `personalake try` asked of a few personas, kept for whoever asks it again",
    "export": "writes the files to train on",
}  # fmt: skip

RELATIONS = {
    "write": "would write this page",
    "read": "would read this page",
    "like": "would like this page",
    "dislike": "would dislike this page",
}

LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "gl": "Galician", "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "kk": "Kazakh", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mr": "Marathi",
    "ms": "Malay", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def in_words(code: str) -> str:
    """Return *code* with its underscores as spaces and a capital: what stands for a code that nobody explained."""
    words = code.replace("_", " ").strip()
    return f"{words[:1].upper()}{words[1:]}." if words else "No reason was recorded."


def reason(code: str) -> str:
    """Return one sentence on the typed reason *code*."""
    return REASONS.get(code) or in_words(code)


def stage(name: str) -> str:
    """Return what stage *name* does, or nothing where that isn't known."""
    return STAGES.get(name, "")


def relation(code: str) -> str:
    """Return the relation of a persona to its page, or *code* itself (relations between personas are free text)."""
    return RELATIONS.get(code, code)


def language(code: str) -> str:
    """Return ``"Japanese (ja)"`` for ``"ja"``, the code itself where it isn't known, ``"unknown"`` for nothing."""
    name = LANGUAGES.get(code)
    return f"{name} ({code})" if name else code or "unknown"
