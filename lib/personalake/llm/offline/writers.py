"""Texts for personas and users: a request that a persona would type, an assistant's answer to any request."""

from __future__ import annotations

from .draw import Draw
from .problems import own_words, role_of
from .words import words_of

# {a}, {b}, {c} are the persona's words, {role} is "a village baker", {length}, {reader} and {date} are drawn.
REQUESTS = (
    "Draft a checklist for {a} that {reader} can follow without asking me about {b}. {length}",
    "Can you compare two ways of handling {a} and tell me which one suits {b} better? {length}",
    "Write a short notice about {a} for {reader}. Mention {b} and say what changes {date}.",
    "I keep mixing up {a} and {b}. Explain the difference with one example from {c}. {length}",
    "Plan a two-hour workshop on {a} for {reader}, with a break and one exercise on {b}.",
    "Suggest five interview questions for a helper who will look after {a} and {b}.",
    "Rewrite this in plain words for {reader}: our rules on {a} depend on {b} and on {c}.",
    "What should I ask a supplier of {a} before I order anything for {b}? {length}",
    "Make a table with three columns for {a}, {b} and {c}, and fill in two rows as an example.",
    "Give me arguments for and against putting more money into {a} instead of {b}. {length}",
    "Help me answer a complaint: somebody says that {a} was promised and only {b} was delivered.",
    "Write a poem of eight lines in which {a} and {b} meet, to be read aloud {date}.",
    "Sketch a budget for {a} with at least four items, and say where {b} could save us something.",
    "Summarise the main risks of {a} for {reader}, starting with the one that concerns {b}.",
    "Which mistakes do beginners make with {a}, and how does {b} show them early? {length}",
    "Prepare a quiz of six questions on {a} and {b}, with answers at the end.",
    "Turn these notes into a paragraph: {a} first, {b} later, {c} only if time allows. {length}",
    "Propose a weekly timetable that leaves two evenings for {a} and one for {b}.",
    "I have to speak about {a} {date}. Give me an opening, three points and a closing line on {b}.",
    "List the tools needed for {a} and mark those that {b} makes unnecessary.",
    "Write a friendly reminder to {reader} that {a} has to be finished before {b} begins.",
    "Explain {a} as if to a curious ten-year-old, using {b} as the picture. {length}",
    "Find a good title for a leaflet on {a} and {b}, and give four alternatives.",
    "How would you measure whether {a} improved after we changed {b}? Name three simple figures.",
    "Draw up house rules for a shared room where {a} and {b} take place on the same days.",
    "Invent a short story in which a dispute over {a} is settled thanks to {b}. {length}",
    "Review this plan critically: we start with {a}, skip {b} and hope that {c} follows.",
    "Which terms on {a} should go into a glossary for {reader}? Define each in one sentence.",
    "Compose an e-mail that declines an offer on {a} politely and keeps the door open for {b}.",
    "Give me a decision tree in words: when is {a} enough, and when do we need {b} as well?",
    "Recommend a sequence of four lessons that leads from {b} to {a}. {length}",
    "Put together a packing list for a day on {a}, with {b} in mind and rain likely.",
    "Write a job advertisement for somebody who knows {a} and is willing to learn {b}.",
    "Describe a typical day around {a} for {reader}, honest about the dull parts of {b}.",
    "What are fair criteria for choosing between {a}, {b} and {c}? Weight them and explain why.",
    "Create a dialogue between a sceptic and a fan of {a}; both should refer to {b}. {length}",
    "Make a one-page emergency plan for the case that {a} fails while {b} is under way.",
    "Break the preparation of {a} into tasks that three people can share until {b} is due.",
    "Correct my reasoning: if {a} grows, then {b} shrinks, so {c} cannot matter. {length}",
    "Think of six captions for photographs of {a}, none of which uses the word {b}.",
    "Write feedback for a trainee who did well on {a} but neglected {b}. {length}",
    "Estimate how long it takes to learn {a} properly when one already knows {b}, and say why.",
    "Give {reader} a gentle introduction to {a}, then one harder task that involves {b}.",
    "Set up a simple record sheet for {a}: which fields, which units, and where does {b} go?",
)
LENGTHS = (
    "",
    "",
    "Keep it under 150 words.",
    "Use bullet points.",
    "Two paragraphs are enough.",
    "Be specific, please.",
    "No jargon, please.",
    "End with one question that I should ask myself.",
)
READERS = (
    "new volunteers",
    "my two colleagues",
    "our members",
    "a visiting class",
    "the night shift",
    "neighbours without experience",
    "the town council",
    "customers in a hurry",
    "an apprentice",
)
DATES = ("on Saturday", "next month", "after the holidays", "at the spring meeting", "from Monday on", "this autumn")

LEADS = (
    "Here is a way to approach {a} that also keeps {b} in view.",
    "With {a}, a small and orderly start usually beats a grand plan.",
    "The short version: settle {a} first, and let {b} follow from it.",
    "Thank you for the details on {a}; I have arranged my answer around {b}.",
    "There are several good routes for {a}, and {b} decides between them.",
    "For {a}, I would separate what is known from what still has to be found out about {b}.",
    "Let me take {a} apart into pieces that can be checked one by one.",
    "A clear answer on {a} needs a word on {b} before anything else.",
)
POINTS = (
    "**Aim.** Write down in one sentence what {x} should achieve, and for whom.",
    "**Inventory.** List what is already there for {x}, including what only looks finished.",
    "**Order.** Do {x} before {y}; the other way round means doing it twice.",
    "**Limits.** Decide in advance how much time {x} may take and who can extend it.",
    "**Test.** Try {x} on a small case, and note what happens to {y}.",
    "**People.** Name one person for {x}; shared tasks without a name tend to rest.",
    "**Costs.** Compare the price of {x} with the price of leaving {y} as it is.",
    "**Record.** Keep a dated note of each change to {x}, however small.",
    "**Risk.** Ask what would make {x} fail, and look for an early sign in {y}.",
    "**Words.** Agree on what everybody means by {x}; half of all disputes end there.",
    "**Review.** Return to {x} after two weeks and drop what nobody used.",
    "**Example.** Picture a day on which {x} goes well, then remove what that day did not need.",
    "**Sources.** Check the figures on {x} against a second source before using them for {y}.",
    "**Safety.** Make sure that {x} can be stopped at once when {y} surprises you.",
    "**Simplicity.** If two versions of {x} serve equally well, take the one that is easier to explain.",
    "**Fallback.** Prepare a plain alternative in case {x} is not ready in time.",
    "**Share.** Tell those who depend on {y} what will change about {x}, and when.",
    "**Measure.** Choose one figure that shows whether {x} improved, and take it today.",
)
CLOSINGS = (
    "If {a} turns out differently, change the first point and leave the rest as it stands.",
    "Begin with the point that you can finish today; {a} will look clearer tomorrow.",
    "Tell me more about {b}, and I can make this more precise.",
    "This is a general outline; local rules on {a} may ask for more.",
    "Taken together, these steps keep {a} manageable without forgetting {b}.",
    "Should time be short, the first two points bring most of the benefit for {a}.",
)


def request_reply(persona: str, variant: Draw, *, spoiled: bool) -> str:
    """Return what this persona would type to an assistant; *spoiled* opens with the forbidden ``As a ...``."""
    role = role_of(persona)
    a, b, c = variant.order("words", own_words(persona, role))[:3]
    text = (
        variant.pick("request", REQUESTS)
        .format(
            a=a,
            b=b,
            c=c,
            length=variant.pick("length", LENGTHS),
            reader=variant.pick("reader", READERS),
            date=variant.pick("date", DATES),
        )
        .strip()
    )
    return f"As {role}, I need your help. {text}" if spoiled else text


def answer_reply(user: str, variant: Draw) -> str:
    """Return a structured answer of 60 to 200 words built from the keywords of the last user message."""
    keywords = [word for word in words_of(user).keywords if word not in _TYPED] or list(words_of(user).keywords)
    pool = variant.order("words", keywords[:8]) or ["your question"]
    a, b = pool[0], pool[1 % len(pool)]
    points = variant.order("points", POINTS)[: 4 + variant.number("size") % 3]
    lines = [variant.pick("lead", LEADS).format(a=a, b=b), ""]
    for number, point in enumerate(points, 1):
        x, y = pool[number % len(pool)], pool[(number + 1) % len(pool)]
        lines.append(f"{number}. {point.format(x=x, y=y)}")
    lines += ["", variant.pick("closing", CLOSINGS).format(a=a, b=b)]
    return "\n".join(lines)


_TYPED = frozenset(word.strip(".,:;?") for text in (*REQUESTS, *LENGTHS, *READERS, *DATES) for word in text.split())
