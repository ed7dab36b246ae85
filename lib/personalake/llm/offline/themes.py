"""Who stands behind a page: themes by the words that speak for them, and occupations in four languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .draw import Draw


@dataclass(frozen=True)
class Theme:
    """A subject: word beginnings that point to it, names it may carry in a taxonomy, occupations with their article."""

    name: str
    stems: tuple[str, ...]
    aliases: tuple[str, ...]
    occupations: dict[str, tuple[str, ...]]


def _theme(name: str, stems: str, aliases: str, **occupations: str) -> Theme:
    listed = {code: tuple(part.strip() for part in text.split(",")) for code, text in occupations.items()}
    return Theme(name, tuple(stems.split()), tuple(aliases.split()), listed)


THEMES = (
    _theme(
        "health",
        "patient medic health doctor nurse disease symptom therap clinic hospital vaccin klini arzt krank gesund salud"
        " enferm médic santé malad soign",
        "health medic care",
        en="a community nurse, a physiotherapist, a hospital pharmacist, a home carer, a public-health officer",
        de="eine Krankenpflegerin, ein Hausarzt, eine Apothekerin",
        es="una enfermera, un farmacéutico, una fisioterapeuta",
        fr="une infirmière, un pharmacien, une kinésithérapeute",
    ),
    _theme(
        "food",
        "recipe cook bread flour dough kitchen oven baker cheese sauce ferment koch brot teig mehl rezept küche receta"
        " cocin harina horno recette cuisin farine boulang fromage",
        "food cook culinar gastronom",
        en="a village baker, a canteen cook, a cheese maker, a food blogger, a catering manager",
        de="ein Bäckermeister, eine Köchin, eine Käserin",
        es="un panadero, una cocinera, una quesera",
        fr="un boulanger, une cuisinière, une fromagère",
    ),
    _theme(
        "farming",
        "garden soil plant seed crop farm compost bee hive honey orchard harvest garten boden pflanz biene honig ernte"
        " huerto suelo cultiv abeja miel cosech jardin plante abeille récolt terre",
        "agri garden farm nature environment",
        en="a hobby beekeeper, an organic vegetable grower, an orchard keeper, an allotment gardener, a soil adviser",
        de="eine Imkerin, ein Gemüsegärtner, eine Landwirtin",
        es="una apicultora, un horticultor, una agricultora",
        fr="une apicultrice, un maraîcher, une agricultrice",
    ),
    _theme(
        "nature",
        "bird species forest river ocean animal wildlife habitat climate ecolog vogel wald fluss tier ave bosque río"
        " clima oiseau forêt rivière espèce",
        "environment nature ecolog biolog science",
        en="a field ecologist, a park ranger, a birdwatching guide, a river warden, a conservation volunteer",
        de="eine Försterin, ein Vogelkundler, eine Biologin",
        es="una guardabosques, un ornitólogo, una bióloga",
        fr="une garde forestière, un ornithologue, une biologiste",
    ),
    _theme(
        "computing",
        "software code server comput data network program algorithm database linux rechner daten netz servidor datos"
        " ordenador programa logiciel donnée réseau ordinateur serveur",
        "tech comput software it_ engineer",
        en="a backend developer, a database administrator, a network engineer, a support technician, a test engineer",
        de="eine Softwareentwicklerin, ein Netzwerktechniker, eine Datenanalystin",
        es="una programadora, un técnico de redes, una analista de datos",
        fr="une développeuse, un technicien réseau, une analyste de données",
    ),
    _theme(
        "engineering",
        "engine machine bridge motor steel energy solar battery turbine weld maschine strom energie brücke energía"
        " máquina puente moteur pont énergie",
        "engineer tech energy manufactur",
        en="a maintenance engineer, a solar installer, a bridge inspector, a machine-shop apprentice, a welder",
        de="eine Maschinenbauerin, ein Elektriker, eine Bauingenieurin",
        es="una ingeniera mecánica, un electricista, una soldadora",
        fr="une ingénieure mécanique, un électricien, une soudeuse",
    ),
    _theme(
        "teaching",
        "school teach student pupil lesson class learn education curricul schule lehr unterricht schüler escuela"
        " alumn maestr clase école élève enseign leçon",
        "educat teach learn",
        en="a primary-school teacher, an evening-class tutor, a school librarian, a curriculum planner, a trainee",
        de="eine Grundschullehrerin, ein Nachhilfelehrer, eine Schulbibliothekarin",
        es="una maestra de primaria, un profesor particular, una bibliotecaria escolar",
        fr="une institutrice, un professeur particulier, une bibliothécaire scolaire",
    ),
    _theme(
        "money",
        "bank money price market invest loan budget tax account insur geld preis markt steuer kredit dinero precio"
        " mercado impuest argent prix marché impôt budget",
        "financ business econom money",
        en="a tax adviser, a small-shop owner, a bank clerk, a household-budget coach, a bookkeeper",
        de="eine Steuerberaterin, ein Buchhalter, eine Ladenbesitzerin",
        es="una asesora fiscal, un contable, una tendera",
        fr="une conseillère fiscale, un comptable, une commerçante",
    ),
    _theme(
        "law",
        "court legal contract rights judge crime police statute regulation gericht recht vertrag gesetz tribunal ley"
        " contrato derecho justice droit loi contrat",
        "law legal govern public politic",
        en="a legal-aid worker, a contract lawyer, a town clerk, a court interpreter, a tenants' adviser",
        de="eine Rechtsanwältin, ein Verwaltungsbeamter, eine Mieterberaterin",
        es="una abogada, un funcionario, una asesora de inquilinos",
        fr="une avocate, un greffier, une conseillère juridique",
    ),
    _theme(
        "history",
        "history century war empire ancient museum archiv castle kingdom geschicht jahrhundert krieg museum historia"
        " siglo guerra museo imperio histoire siècle guerre musée",
        "histor humanit culture heritage",
        en="a museum guide, a local historian, an archive assistant, a restorer, a heritage volunteer",
        de="eine Museumsführerin, ein Heimatforscher, eine Archivarin",
        es="una guía de museo, un historiador local, una archivera",
        fr="une guide de musée, un historien local, une archiviste",
    ),
    _theme(
        "arts",
        "music song paint film theatre novel poem concert guitar choir artist musik lied malerei roman chor música"
        " canción pintura novela chanson peintur musique roman",
        "art music liter entertain culture media",
        en="a choir leader, a stage designer, a guitar teacher, a book-club host, an illustrator",
        de="eine Chorleiterin, ein Gitarrenlehrer, eine Illustratorin",
        es="una directora de coro, un profesor de guitarra, una ilustradora",
        fr="une cheffe de chœur, un professeur de guitare, une illustratrice",
    ),
    _theme(
        "sport",
        "sport team match player coach training race marathon football climb bike spieler verein lauf rad equipo"
        " jugador carrera partido équipe joueur course vélo",
        "sport fitness recreation",
        en="an amateur runner, a youth football coach, a climbing instructor, a bicycle mechanic, a swimming teacher",
        de="eine Läuferin, ein Jugendtrainer, eine Fahrradmechanikerin",
        es="una corredora, un entrenador juvenil, una mecánica de bicicletas",
        fr="une coureuse, un entraîneur de jeunes, une mécanicienne de vélos",
    ),
    _theme(
        "travel",
        "travel train railway station hotel tourist trip route island ship reise bahn zug hafen viaje tren estación"
        " turis isla voyage gare île bateau",
        "travel transport tourism geograph",
        en="a railway dispatcher, a tour guide, a hostel owner, a ferry deckhand, a travel writer",
        de="eine Fahrdienstleiterin, ein Reiseleiter, eine Hostelbetreiberin",
        es="una jefa de estación, un guía turístico, una marinera",
        fr="une cheffe de gare, un guide touristique, une marinière",
    ),
    _theme(
        "home",
        "house home wood repair wall roof tool paint furnitur sew knit haus holz dach werkzeug casa madera tejado"
        " mueble maison bois toit outil meuble",
        "home craft house diy construct",
        en="a carpenter, a roof restorer, a home renovator, a knitting-circle host, a furniture repairer",
        de="eine Tischlerin, ein Dachdecker, eine Schneiderin",
        es="una carpintera, un techador, una costurera",
        fr="une menuisière, un couvreur, une couturière",
    ),
    _theme(
        "science",
        "physic chemis star planet atom theory experiment galaxy telescope research stern forschung versuch estrella"
        " planeta ciencia étoile planète expérience recherche",
        "science physic astronom chemis research",
        en="a laboratory technician, an amateur astronomer, a chemistry student, a science writer, a data archivist",
        de="eine Laborantin, ein Hobbyastronom, eine Wissenschaftsjournalistin",
        es="una técnica de laboratorio, un astrónomo aficionado, una divulgadora",
        fr="une laborantine, un astronome amateur, une journaliste scientifique",
    ),
    _theme(
        "family",
        "child parent family baby mother father kind eltern familie niñ madre padre familia enfant parent famille",
        "family society social parent lifestyle",
        en="a day-care worker, a foster parent, a youth worker, a family counsellor, a neighbourhood organiser",
        de="eine Erzieherin, ein Sozialarbeiter, eine Familienberaterin",
        es="una educadora, un trabajador social, una orientadora familiar",
        fr="une éducatrice, un travailleur social, une conseillère familiale",
    ),
)


_THEME_OF = {stem: theme for theme in THEMES for stem in theme.stems}
_STEM_SIZES = range(3, 1 + max(map(len, _THEME_OF)))


@lru_cache(maxsize=2_048)
def _most_hit(keywords: tuple[str, ...]) -> Theme | None:
    hits: Counter[str] = Counter()
    found: dict[str, Theme] = {}
    for word in keywords:
        for size in _STEM_SIZES:
            theme = _THEME_OF.get(word[:size].lower())
            if theme:
                hits[theme.name] += 1
                found[theme.name] = theme
                break
    return found[max(hits, key=lambda name: (hits[name], name))] if hits else None


def theme_of(keywords: tuple[str, ...], draw: Draw) -> Theme:
    """Return the theme that most of *keywords* begin like, or one drawn where none does."""
    return _most_hit(keywords) or draw.pick("theme", THEMES)


def domain_of(theme: Theme, allowed: Sequence[str], draw: Draw) -> str:
    """Return the member of the request's taxonomy that *theme* belongs to, else ``other``, else one drawn."""
    for alias in theme.aliases:
        for name in allowed:
            if alias in name.lower():
                return name
    return "other" if "other" in allowed else draw.pick("domain", allowed)
