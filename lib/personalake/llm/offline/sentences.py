"""Persona sentences: patterns by language and relation, with slots for an occupation and words of the page."""

from __future__ import annotations

import re

RELATIONS = ("write", "read", "like", "dislike")

# {who} opens a sentence ("A village baker"); {a} to {d} are words of the page.
ENGLISH = {
    "write": (
        "{who} who explains {a} to newcomers and keeps a growing set of notes on {b}, {c} and {d}.",
        "{who} who publishes short guides to {a}, drawing on long practice with {b} and {c}.",
        "{who} who writes about {a} because the usual accounts of {b} leave out {c} and {d}.",
        "{who} who documents {a} for a local circle and answers questions on {b} and {c} afterwards.",
        "{who} who turned years of work with {a} into a column on {b}, {c} and the trade-offs of {d}.",
        "{who} who drafts handouts on {a} so that colleagues stop mixing up {b} and {c}.",
        "{who} who collects first-hand accounts of {a} and compares them with what is said of {b} and {d}.",
        "{who} who edits a members' bulletin where {a}, {b} and {c} come up in every issue.",
        "{who} who keeps a public diary of {a}, with careful remarks on {b} and how {c} affects {d}.",
        "{who} who prepares training material on {a} and insists on plain words for {b} and {c}.",
        "{who} who records what went wrong with {a}, so that others handle {b} and {c} more calmly.",
        "{who} who summarises debates over {a} for readers who know {b} but have never met {c} or {d}.",
    ),
    "read": (
        "{who} who looks up {a} before each season and compares advice on {b}, {c} and {d}.",
        "{who} who came to {a} late and is working through everything on {b} and {c}.",
        "{who} who must decide between {a} and {b} this month and reads up on {c} to be sure.",
        "{who} who was asked to take over {a} and wants to understand {b}, {c} and {d} first.",
        "{who} who checks sources on {a} for a small team in which {b} and {c} cause most questions.",
        "{who} who prepares a talk on {a} and needs clear examples of {b} and {c}.",
        "{who} who reads about {a} in the evening, mostly to see how others deal with {b} and {d}.",
        "{who} who compares {a} across regions and marks every passage that touches {b} or {c}.",
        "{who} who needs a short, reliable account of {a} for a report on {b}, {c} and {d}.",
        "{who} who studies {a} for a certificate and still confuses {b} with {c}.",
        "{who} who follows news of {a} closely, since {b} and {c} decide how the coming year goes.",
        "{who} who wants to pass on {a} to a younger team and looks for good words for {b} and {c}.",
    ),
    "like": (
        "{who} who enjoys the small details of {a} and can talk for an hour about {b} and {c}.",
        "{who} who recommends anything on {a} to friends, above all when {b} and {d} are treated fairly.",
        "{who} who values patient work with {a} and shares the view of {b} and {c} taken here.",
        "{who} who has long argued that {a} matters more than {b}, and is glad to see {c} mentioned.",
        "{who} who spends free weekends on {a} and delights in stories of {b}, {c} and {d}.",
        "{who} who admires people that keep {a} alive and supports a club for {b} and {c}.",
        "{who} who finds calm in {a} and likes plain descriptions of {b} and {c}.",
        "{who} who started a discussion group on {a} after a happy experience with {b} and {d}.",
        "{who} who saves every piece on {a} and rereads the parts on {b} and {c} with pleasure.",
        "{who} who sees {a} as the heart of the craft and welcomes attention to {b}, {c} and {d}.",
    ),
    "dislike": (
        "{who} who thinks that {a} is overrated and would rather spend the effort on {b} and {c}.",
        "{who} who distrusts claims about {a}, having seen {b} and {c} go badly more than once.",
        "{who} who objects to how {a} is discussed and misses any word on the cost of {b} and {d}.",
        "{who} who prefers older ways and considers {a}, {b} and {c} a passing fashion.",
        "{who} who had a disappointing year with {a} and reads praise of {b} and {c} with impatience.",
        "{who} who warns colleagues against {a} whenever {b} or {c} is offered as an easy answer.",
        "{who} who finds accounts of {a} too cheerful and keeps a list of failures of {b} and {d}.",
        "{who} who would drop {a} from the plan altogether, since {b} and {c} already take too long.",
        "{who} who doubts that {a} helps beginners and blames {b} and {c} for most mistakes.",
        "{who} who argues in meetings that {a} distracts from {b}, {c} and the real trouble with {d}.",
    ),
}
ENGLISH_MORE = (
    "Careful with money, this person weighs {e} against {f} before each decision.",
    "At work the questions that come up most concern {e} and {f}.",
    "A long interest in {e} shapes how every new idea about {f} is judged.",
    "Neighbours come by for advice on {e}, and leave with an opinion on {f}.",
    "Most free hours go into {e}, with {f} as a quiet second interest.",
    "The aim for this year is to make {e} simpler and to leave {f} to others.",
    "A notebook with remarks on {e} and {f} is never far away.",
    "Friends know that any talk of {e} will sooner or later turn to {f}.",
    "Training in another field helps to see {e} and {f} with fresh eyes.",
    "Short of time, this person skips theory and goes straight to {e} and {f}.",
    "Experience with {e} makes it easy to spot careless remarks on {f}.",
    "Plans for next season depend on {e}, and a little on {f}.",
)

# In the other languages one list serves all relations; the relation is said by the field of its own.
OTHERS = {
    "de": (
        "{who}, die Person hinter einem kleinen Archiv über {a}, vergleicht {b} und {c} seit vielen Jahren.",
        "{who} mit langer Erfahrung rund um {a}, die Ratschläge zu {b} und {c} gern weitergibt.",
        "{who} auf der Suche nach verlässlichen Angaben über {a}, vor allem zu {b}, {c} und {d}.",
        "{who} mit Zweifeln an {a}, weil {b} und {c} in der Praxis oft zu kurz kommen.",
        "{who}, im Verein zuständig für {a}, sammelt Berichte über {b} und {c}.",
        "{who} mit einer Schwäche für {a}, die an freien Tagen {b} und {d} ausprobiert.",
        "{who} in einem kleinen Betrieb, wo {a} und {b} jeden Morgen besprochen werden und {c} Sorgen macht.",
        "{who}, neu im Thema {a}, liest alles über {b}, {c} und {d}, bevor eine Entscheidung fällt.",
        "{who} mit eigenem Rundbrief über {a}, in dem {b} und {c} regelmäßig vorkommen.",
        "{who} vor der Frage, ob {a} den Aufwand für {b} und {c} überhaupt lohnt.",
    ),
    "es": (
        "{who} que reúne apuntes sobre {a} y compara lo que se dice de {b} y {c}.",
        "{who} que explica {a} a principiantes con ejemplos tomados de {b}, {c} y {d}.",
        "{who} que desconfía de {a} porque {b} y {c} rara vez salen como se promete.",
        "{who} que busca consejos fiables sobre {a} antes de decidir entre {b} y {c}.",
        "{who} que dedica los fines de semana a {a} y disfruta hablando de {b} y {d}.",
        "{who} que prepara un taller sobre {a} y necesita buenos casos de {b} y {c}.",
        "{who} que escribe un boletín de barrio en el que {a}, {b} y {c} aparecen cada mes.",
        "{who} que llegó tarde a {a} y ahora repasa todo lo relativo a {b}, {c} y {d}.",
        "{who} que defiende {a} frente a quienes prefieren {b} y olvidan {c}.",
        "{who} que cambiaría {a} por métodos más sencillos, porque {b} y {c} exigen demasiado.",
    ),
    "fr": (
        "{who} qui rassemble des notes sur {a} et compare les avis sur {b} et {c}.",
        "{who} qui explique {a} aux débutants à partir d'exemples de {b}, {c} et {d}.",
        "{who} qui se méfie de {a}, car {b} et {c} tiennent rarement leurs promesses.",
        "{who} qui cherche des conseils fiables sur {a} avant de choisir entre {b} et {c}.",
        "{who} qui consacre ses dimanches à {a} et aime parler de {b} et de {d}.",
        "{who} qui prépare un atelier sur {a} et a besoin de bons exemples de {b} et {c}.",
        "{who} qui tient un bulletin de quartier où {a}, {b} et {c} reviennent chaque mois.",
        "{who} qui découvre {a} sur le tard et relit tout ce qui touche à {b}, {c} et {d}.",
        "{who} qui défend {a} contre ceux qui préfèrent {b} et oublient {c}.",
        "{who} qui trouve {a} trop vanté et regrette le silence sur {b} et {c}.",
    ),
}

_TEXTS = [*ENGLISH_MORE, *(text for group in (ENGLISH, OTHERS) for texts in group.values() for text in texts)]
PATTERN_WORDS = frozenset(re.findall(r"[^\W\d_]{4,}", " ".join(_TEXTS)))
"""Words that the patterns themselves bring; what is left of a persona are its own."""
