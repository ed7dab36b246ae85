"""Personas that name somebody, and others that don't, though much in them is written with a capital."""

from __future__ import annotations

PAGE = (
    "By Thandeka Radebe\n\n"
    "The village mill was bought by Xolani Haverstock in 1998, and his sister Ottoline keeps the books. "
    "Mr. Penhaligon, who ran it before, still comes by. "
    '"Water is patient," said Sunniva Brathwaite, 54, who mends the wheel. '
    "Dr. A. K. Ferncastle wrote its history; she thanks J. Quillfeather for the photographs. "
    "Frau Lindhammer und Herr van der Meulen helped with the German and Dutch letters.\n"
    "The Roman Empire had mills like it, as had New York and the Black Forest. Machine Learning was used to read the "
    "ledgers, which follow Bernoulli's principle, named after Daniel Bernoulli.\n"
)

NAMED: tuple[tuple[str, str], ...] = (
    # by itself, in English
    ("en", "Anna Schmidt, a nurse from Graz, who spends her nights off repairing radios."),
    ("en", "A nurse named Anna who spends her nights off repairing old radios."),
    ("en", "A retired welder called Xanthe Orlowsky who now teaches evening classes."),
    ("en", "Thandiwe Nkosi runs a seed library and keeps notes on each harvest."),
    ("en", "A schoolteacher who writes letters to Michael O'Donnell about the parish archive."),
    ("en", "Mrs. Fairweather, who keeps bees behind the station and sells honey on Sundays."),
    ("en", "A lock keeper whose name is Pieter and who paints barges in winter."),
    ("en", "A young physicist, nicknamed Oleksandr by her team, who builds detectors."),
    ("en", "Dr. Okonjo studies sleep in shift workers and rides a bicycle to the ward."),
    ("en", "Meet Priya Raghunathan, a tax clerk who collects railway timetables."),
    ("en", "A gardener who was trained by Grace Kowalski and grafts old apple trees."),
    ("en", "Jean-Luc is a ferry pilot who knows each sandbank of the delta."),
    ("en", "Nguyen Van Minh repairs outboard motors and tells stories of the river."),
    ("en", "A baker who learned the trade from J. R. Whitcombe in a coastal town."),
    ("en", "Wangari, a forest ranger, counts hornbills for a small trust."),
    ("en", "A tailor and neighbour of Sergei Ivanov who mends uniforms for the opera."),
    # German
    ("de", "Katharina Brandt, eine Hebamme aus Graz, sammelt alte Fahrpläne."),
    ("de", "Eine Krankenpflegerin namens Xaveria, die nachts Radios repariert."),
    ("de", "Ein Lehrer, der mit Frau Pospischil die Schulbibliothek ordnet."),
    ("de", "Herr Wondratschek führt eine Mühle und schreibt über das Wasser."),
    ("de", "Jürgen ist Schleusenwärter und malt im Winter Lastkähne."),
    ("de", "Eine Imkerin, die von Professor Zirngiebl gelernt hat, wie Völker überwintern."),
    ("de", "Ein Orgelbauer, der bei Friedrich Kallenbach in die Lehre ging."),
    # French
    ("fr", "Madame Vauquelin, qui tient une bibliothèque de graines dans la vallée."),
    ("fr", "Une infirmière nommée Capucine qui répare des postes de radio la nuit."),
    ("fr", "Un apiculteur qui a tout appris de Jean-Pierre Malaval, au bord du fleuve."),
    ("fr", "Geneviève est éclusière et peint des péniches pendant l'hiver."),
    ("fr", "Un tailleur qui s'appelle Théophraste et qui coud pour l'opéra."),
    # Spanish
    ("es", "Una enfermera llamada Milagros que repara radios antiguas por la noche."),
    ("es", "La señora Etxeberria, que cuida un huerto junto a la estación."),
    ("es", "Alejandro Quiroga, maestro de un pueblo pequeño, colecciona horarios de tren."),
    ("es", "Un panadero que aprendió el oficio con Rocío Fuentes en la costa."),
    ("es", "Un barquero que se llama Eleuterio y conoce cada banco de arena."),
    # Italian, Portuguese
    ("it", "Un'infermiera di nome Fiammetta che ripara vecchie radio di notte."),
    ("it", "Il signor Bevilacqua, che tiene le api dietro la stazione."),
    ("it", "Giuseppe Tarantini, maestro in un paese di montagna, raccoglie semi."),
    ("pt", "Uma enfermeira chamada Jacinta que conserta rádios antigos à noite."),
    ("pt", "Gonçalo Figueiredo, professor de uma vila pequena, guarda horários de comboio."),
    ("pt", "A dona Eufrásia, que cria abelhas atrás da estação."),
    # Dutch, Nordic
    ("nl", "Een verpleegkundige genaamd Sanne die 's nachts oude radio's repareert."),
    ("nl", "Mevrouw Terpstra houdt bijen achter het station en schrijft over water."),
    ("sv", "Håkan Bergqvist, lärare i en liten by, samlar gamla tidtabeller."),
    ("da", "En sygeplejerske ved navn Mette, som reparerer gamle radioer om natten."),
    ("no", "Solveig er slusevokter og maler lektere om vinteren."),
    ("fi", "Päivi Korhonen, opettaja pienestä kylästä, kerää vanhoja aikatauluja."),
    # Slavic, Hungarian, Romanian, Turkish, Greek
    ("pl", "Pielęgniarka imieniem Wacława, która nocami naprawia stare radia."),
    ("pl", "Katarzyna Zawadzka, nauczycielka z małej wsi, zbiera rozkłady jazdy."),
    ("cs", "Zdeněk Hruška, učitel z malé vsi, sbírá staré jízdní řády."),
    ("hu", "Egy Zsófia nevű ápolónő, aki éjszakánként régi rádiókat javít."),
    ("ro", "O asistentă pe nume Ioana, care repară noaptea radiouri vechi."),
    ("tr", "Zeynep adında bir hemşire, geceleri eski radyoları onarıyor."),
    ("ru", "Анна Иванова, медсестра из Твери, по ночам чинит старые радиоприёмники."),
    ("ru", "Учитель, который переписывается с Марией Петровной о школьном архиве."),
    ("uk", "Медсестра, яку звати Оксана, ночами лагодить старі радіоприймачі."),
    ("el", "Η Ελένη Παπαδοπούλου, νοσοκόμα, επισκευάζει παλιά ραδιόφωνα τη νύχτα."),
    # scripts without capitals
    ("ja", "佐藤 綾子は、夜勤明けに古いラジオを修理する看護師である。"),
    ("ja", "田中さんと一緒に図書室を整理している小学校の教師。"),
    ("ja", "長谷川は駅の裏で蜜蜂を飼い、日曜日に蜂蜜を売っている。"),
    ("zh", "一位名叫李秀英的护士，晚上修理旧收音机，周末整理社区图书馆。"),
    ("zh", "跟王老师学习过嫁接技术的果农，写了很多关于老品种的笔记。"),
    ("ko", "김민수 씨와 함께 마을 도서관을 정리하는 초등학교 교사."),
    ("ar", "ممرضة تدعى خديجة تصلح أجهزة الراديو القديمة في الليل وتجمع الكتب."),
    ("ar", "فاطمة معلمة في قرية صغيرة تجمع جداول القطارات القديمة."),
    ("hi", "अनीता नाम की एक नर्स जो रात में पुराने रेडियो ठीक करती है।"),
)
"""By themselves, without a page: language and text."""

NAMED_ON_THE_PAGE = (
    "An accountant who was taught double entry by Ottoline Haverstock.",
    "A carpenter who took over the wheel from Penhaligon and hates damp.",
    "An engineer who argues with Brathwaite about the right oak for a wheel.",
    "A local historian who doubts what Ferncastle says of the first ledger.",
    "A photographer who learned darkroom work from Quillfeather.",
    "A translator who sat with Lindhammer over letters in old script.",
    "A Dutch teacher who writes to Van der Meulen about the spelling of names.",
    "A reporter who envies Radebe her patience with sources.",
)

UNNAMED: tuple[tuple[str, str], ...] = (
    ("en", "A historian of the Roman Empire who lives near New York and reads Latin inscriptions."),
    ("en", "A student of Machine Learning from the Black Forest who distrusts benchmarks."),
    ("en", "A physics teacher who explains the Bernoulli principle with two sheets of paper."),
    ("en", "A hiker from San Diego who maps trails around Lake Victoria and Mount Elbert."),
    ("en", "A nurse in Charlotte, North Carolina, who volunteers for the Red Cross."),
    ("en", "A retired engineer from Florence who studies the Italian Renaissance."),
    ("en", "A Julia and Python programmer who maintains a package for Monte Carlo methods."),
    ("en", "A reader of Harry Potter and Jane Eyre who runs a book club in Paris."),
    ("en", "A Catholic priest at St. Patrick's Cathedral who restores organs."),
    ("en", "A researcher at the Max Planck Institute who calibrates telescopes."),
    ("en", "A guide at the Anne Frank House who speaks Dutch, English and Spanish."),
    ("en", "A patient advocate who explains Parkinson's disease and the Apgar score."),
    ("en", "A clerk of the European Union who drafts the Digital Services Act."),
    ("en", "A collector of Louis XIV furniture who restores chairs in Saint Louis."),
    ("en", "An owner of a dog named Max who walks it through Hyde Park before work."),
    ("en", "A trader who compares Morgan Stanley, Johnson & Johnson and General Motors."),
    ("en", "A cook of Georgian food in Madison, Wisconsin, who grows her own coriander."),
    ("en", "A fan of the Beatles who collects records on Friday evenings in May."),
    ("en", "A U.S. Army veteran who teaches English as a Second Language in Austin."),
    ("en", "A doctor who prescribes vitamin C. Experienced in rural clinics, she drives far."),
    ("en", "A surveyor of the Mississippi River who works for the Corps of Engineers."),
    ("en", "A seamstress who lives on Martin Luther King Boulevard and sings alto."),
    ("en", "Retired Army Officer, a father of two, who coaches a Little League team."),
    ("en", "A botanist who breeds Aloe Vera, Black-eyed Susan and Virginia creeper."),
    ("en", "A Mark II radio collector who repairs transmitters of the Cold War."),
    ("en", "A maintainer of the Apache Software Foundation who reviews Pull Requests."),
    ("en", "A Will and Trust lawyer who drafts Power of Attorney forms in Victoria."),
    ("en", "A Jack Russell breeder from Jordan who ships puppies to Santiago."),
    ("en", "A Muslim student who fasts during Ramadan and reads the Quran in Arabic."),
    ("en", "A sailor who waited out Hurricane Maria in Santa Barbara harbour."),
    ("de", "Eine Frau Mitte vierzig aus Graz, die im Verein Obstbäume schneidet."),
    ("de", "Ein älterer Herr aus Wien, der als Rentner Modelle der Südbahn baut."),
    ("de", "Eine Frau, die als Frau Karriere in der Stahlindustrie machen will."),
    ("de", "Ein gelernter Müller aus dem Schwarzwald, der Mehl nach altem Brauch mahlt."),
    ("de", "Ein Student an der Friedrich-Alexander-Universität, der Roman und Drama vergleicht."),
    ("de", "Eine Biologin am Max-Planck-Institut, die Pilze der Sächsischen Schweiz kartiert."),
    ("de", "Anders als andere Kletterer plant dieser Bergführer jede Tour am Großen Arber."),
    ("de", "Ein Pfarrer der Sankt-Anna-Kirche, der Orgeln im Winter warm hält."),
    ("de", "Ein Bauer aus Bad Sankt Leonhard mit Zweifeln an der Gemeinsamen Agrarpolitik."),
    ("de", "Eine Historikerin, die über das Heilige Römische Reich und Karl den Großen schreibt."),
    ("fr", "Une bibliothécaire de Saint-Étienne qui étudie la Révolution française."),
    ("fr", "Un guide du Mont Blanc qui déteste le tourisme de masse à Chamonix."),
    ("fr", "Un habitant de la rue Victor Hugo qui milite pour les pistes cyclables."),
    ("fr", "Une chercheuse à l'Institut Pasteur qui travaille sur les levures."),
    ("es", "Un maestro de San José que enseña la historia de la Guerra Civil."),
    ("es", "Una guía de Santiago de Compostela que conoce cada etapa del Camino."),
    ("es", "Un agricultor de Santa Cruz que riega olivos junto al río Guadalquivir."),
    ("es", "Una vecina de la plaza Mayor que escribe sobre el Siglo de Oro."),
    ("it", "Una restauratrice di Santa Maria Novella che studia il Rinascimento."),
    ("pt", "Um pescador de São Francisco do Sul que conhece a baía da Babitonga."),
    ("nl", "Een gids in het Anne Frank Huis die over de Tweede Wereldoorlog vertelt."),
    ("pl", "Nauczyciel z Nowego Sącza, który bada historię Rzeczypospolitej."),
    ("ru", "Инженер из Нижнего Новгорода, который чинит мосты через Волгу."),
    ("ja", "京都の大学で江戸時代の文学を研究する大学院生。夜は古いラジオを直す。"),
    ("ja", "山口県で看護師として働き、患者さんやお年寄りの話をよく聞く人。"),
    ("ja", "中村区の小学校で算数を教え、皆さんに親しまれている先生。"),
    ("zh", "在北京大学学习历史的研究生，喜欢唐朝的诗歌，周末教邻居写字。"),
    ("zh", "一位高中数学老师，喜欢和学生讨论几何问题，也给班主任老师帮忙。"),
    ("ko", "서울의 한국어 교수로 일하며 마음씨 좋은 이웃과 텃밭을 가꾸는 사람."),
    ("ar", "مهندس من القاهرة يدرس تاريخ الدولة العثمانية ويحب الشعر العربي القديم."),
    ("hi", "दिल्ली विश्वविद्यालय में इतिहास पढ़ने वाली एक छात्रा जो कविता लिखती है।"),
)
"""What must be taken: language and text."""
