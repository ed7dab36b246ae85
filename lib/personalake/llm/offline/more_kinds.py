"""Kinds of mathematical problem, second half: probability, rates, combinatorics."""

from __future__ import annotations

from .problem_kinds import KINDS_ONE, Kind

PROBABILITY = (
    Kind(
        "chip",
        "probability",
        "school",
        "A bag holds [r] red and [b] blue {k1} chips, and one chip is drawn at random. What is the probability, as a"
        " fraction in lowest terms, that it is red?",
        "r 3 15; b 4 18",
        "all_chips = r + b; answer = Fraction(r, all_chips)",
        r"There are $[r] + [b] = [all_chips]$ chips.|So the probability is $\frac{[r]}{[all_chips]} = [answer]$.",
    ),
    Kind(
        "wheel",
        "probability",
        "school",
        "A {k1} wheel has [n] equal sectors numbered from 1 upwards. What is the probability, as a fraction in lowest"
        " terms, that a spin lands on a multiple of [m]?",
        "n 12 40; m 3 7",
        "hits = n // m; answer = Fraction(hits, n)",
        r"There are $[hits]$ multiples of [m] up to [n].|So the probability is $\frac{[hits]}{[n]} = [answer]$.",
    ),
    Kind(
        "raffle",
        "probability",
        "school",
        "A {k1} raffle sells [n] tickets and gives away a single prize of [p] dollars. What is the expected winning of"
        " one ticket in dollars?",
        "n 40 150; x 2 9",
        "answer = Fraction(p, n)",
        r"A ticket wins with probability $\frac{1}{[n]}$.|"
        r"The expected winning is $\frac{[p]}{[n]} = [answer]$.",
        "p = n * x",
    ),
    Kind(
        "two_chips",
        "probability",
        "contest",
        "A drawer holds [r] red and [b] blue {k1} chips, and two chips are drawn at random without replacement. What"
        " is the probability, as a fraction in lowest terms, that both are red?",
        "r 3 9; b 3 9",
        "pairs = comb(r + b, 2); red_pairs = comb(r, 2); answer = Fraction(red_pairs, pairs)",
        r"There are $\binom{[r]+[b]}{2} = [pairs]$ pairs.|"
        r"Of these, $\binom{[r]}{2} = [red_pairs]$ are red.|"
        r"The ratio is $[answer]$.",
    ),
    Kind(
        "sensors",
        "probability",
        "contest",
        "Each of [n] {k1} sensors works with probability one half, independently of the others. What is the"
        " probability, as a fraction in lowest terms, that exactly [k] of them work?",
        "n 4 8; k 1 3",
        "ways = comb(n, k); cases = 2 ** n; answer = Fraction(ways, cases)",
        r"There are $2^{[n]} = [cases]$ equally likely cases.|"
        r"In $\binom{[n]}{[k]} = [ways]$ of them exactly [k] work.|"
        r"So it is $[answer]$.",
    ),
    Kind(
        "no_red",
        "probability",
        "contest",
        "A tray has [n] {k1} samples, of which [d] are faulty, and three samples are picked at random. What is the"
        " probability, as a fraction in lowest terms, that none of the three is faulty?",
        "n 8 14; d 2 4",
        "good = comb(n - d, 3); every = comb(n, 3); answer = Fraction(good, every)",
        r"There are $\binom{[n]}{3} = [every]$ choices.|Faultless ones number $[good]$.|The ratio is $[answer]$.",
    ),
)
RATES = (
    Kind(
        "van",
        "rates",
        "school",
        "A van with {k1} supplies covers [d] kilometres at a steady [v] kilometres per hour. How many minutes does the"
        " trip take?",
        "q 3 25; v 30|40|60|80|90|120",
        "answer = d * 60 // v",
        r"Time is distance over speed: $\frac{[d]}{[v]}$ hours.|"
        r"In minutes that is $\frac{[d] \cdot 60}{[v]} = [answer]$.",
        "d = 12 * q",
    ),
    Kind(
        "tank",
        "rates",
        "school",
        "An empty {k1} tank for [c] litres gains [i] litres per minute and loses [o] litres per minute at the same"
        " time. After how many minutes is it full?",
        "o 2 9; e 3 15; t 6 40",
        "net = i - o; answer = c // net",
        r"The net gain is $[i] - [o] = [net]$ litres per minute.|It takes $\frac{[c]}{[net]} = [answer]$ minutes.",
        "i = o + e; c = e * t",
    ),
    Kind(
        "labels",
        "rates",
        "school",
        "A machine labels [n] {k1} jars in [t] minutes. How many jars does it label in [s] minutes at the same rate?",
        "r 3 15; t 4 12; s 13 50",
        "rate = n // t; answer = rate * s",
        r"The rate is $\frac{[n]}{[t]} = [rate]$ jars per minute.|"
        r"In [s] minutes that makes $[rate] \cdot [s] = [answer]$.",
        "n = r * t",
    ),
    Kind(
        "together",
        "rates",
        "contest",
        "Alone, one helper finishes the {k1} inventory in [a] hours and another one in [b] hours. How many hours, as a"
        " fraction in lowest terms, do they need when they work together?",
        "a 3 12; b 4 15",
        "product = a * b; total = a + b; answer = Fraction(product, total)",
        r"In one hour they do $\frac{1}{[a]} + \frac{1}{[b]} = \frac{[total]}{[product]}$ of it.|"
        r"So they need $\frac{[product]}{[total]} = [answer]$ hours.",
    ),
    Kind(
        "couriers",
        "rates",
        "contest",
        "Two {k1} couriers who are [d] kilometres apart ride towards each other at [u] and [v] kilometres per hour."
        " After how many hours do they meet?",
        "u 12 25; v 14 30; h 2 6",
        "closing = u + v; answer = d // closing",
        r"They close in at $[u] + [v] = [closing]$ kilometres per hour.|"
        r"They meet after $\frac{[d]}{[closing]} = [answer]$ hours.",
        "d = (u + v) * h",
    ),
    Kind(
        "pursuit",
        "rates",
        "contest",
        "A {k1} convoy leaves at [u] kilometres per hour, and a car follows [h] hours later at [v] kilometres per"
        " hour. How many hours, as a fraction in lowest terms, does the car need to catch up?",
        "u 30 50; e 10 40; h 1 4",
        "lead = u * h; gain = v - u; answer = Fraction(lead, gain)",
        r"The convoy leads by $[u] \cdot [h] = [lead]$ kilometres.|"
        r"The car gains $[v] - [u] = [gain]$ per hour.|"
        r"It needs $\frac{[lead]}{[gain]} = [answer]$ hours.",
        "v = u + e",
    ),
)
COMBINATORICS = (
    Kind(
        "menu",
        "combinatorics",
        "school",
        "A {k1} menu offers [a] starters, [b] main dishes and [c] desserts. How many different three-course meals can"
        " be put together?",
        "a 3 9; b 4 12; c 2 8",
        "pairs = a * b; answer = pairs * c",
        r"Starter and main dish combine in $[a] \cdot [b] = [pairs]$ ways.|"
        r"With a dessert: $[pairs] \cdot [c] = [answer]$.",
    ),
    Kind(
        "hands",
        "combinatorics",
        "school",
        "At a meeting [n] members of a {k1} circle each shake hands with every other member exactly once. How many"
        " handshakes are there?",
        "n 7 40",
        "ordered = n * (n - 1); answer = ordered // 2",
        r"Each of [n] members shakes $[n]-1$ hands, which counts every handshake twice.|"
        r"So there are $\frac{[ordered]}{2} = [answer]$.",
    ),
    Kind(
        "posters",
        "combinatorics",
        "school",
        "The wall has room for one row of posters. In how many different orders can [n] different {k1} posters be hung"
        " in that row?",
        "n 4 7",
        "answer = factorial(n)",
        r"There are [n] choices for the first place, one fewer for the next, and so on: $[n]! = [answer]$.",
    ),
    Kind(
        "committee",
        "combinatorics",
        "contest",
        "A committee of [k] people is chosen from [n] {k1} volunteers, two of whom refuse to serve together. In how"
        " many ways can the committee be chosen?",
        "k 3 5; n 8 14",
        "every = comb(n, k); bad = comb(n - 2, k - 2); answer = every - bad",
        r"Without the condition there are $\binom{[n]}{[k]} = [every]$ choices.|"
        r"In $[bad]$ of them the two serve together.|"
        r"So $[every] - [bad] = [answer]$.",
    ),
    Kind(
        "grid",
        "combinatorics",
        "contest",
        "A robot on a {k1} grid moves from one corner to the opposite one with [a] steps to the right and [b] steps up"
        " in any order. How many different routes are there?",
        "a 3 7; b 3 7",
        "steps = a + b; answer = comb(steps, a)",
        r"Of $[a] + [b] = [steps]$ steps we choose which [a] go right.|"
        r"That is $\binom{[steps]}{[a]} = [answer]$.",
    ),
    Kind(
        "drawers",
        "combinatorics",
        "contest",
        "In how many ways can [n] identical {k1} samples be put into [k] different drawers if every drawer gets at"
        " least one sample?",
        "n 7 14; k 3 5",
        "gaps = n - 1; bars = k - 1; answer = comb(gaps, bars)",
        r"Lay the samples in a row with [gaps] gaps and choose [bars] of them.|"
        r"That gives $\binom{[gaps]}{[bars]} = [answer]$.",
    ),
)
KINDS = KINDS_ONE + PROBABILITY + RATES + COMBINATORICS
