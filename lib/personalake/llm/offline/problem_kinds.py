"""Kinds of mathematical problem: what is asked, which numbers are drawn, and the work that answers it."""

from __future__ import annotations

from dataclasses import dataclass

TOPICS = ("arithmetic", "algebra", "geometry", "probability", "rates", "combinatorics")
LEVELS = ("school", "contest")


@dataclass(frozen=True)
class Kind:
    """One kind; ``[n]`` in a text is a number of that name, ``{k1}`` a word of the persona.

    *draws* are ``name low high`` or ``name a|b|c``; *given* computes further shown numbers from them; *work* uses
    shown numbers alone (it is also the program that a program-of-thought solver writes), and its last assignment is
    the answer; *steps* tell it in words.
    """

    name: str
    topic: str
    level: str
    ask: str
    draws: str
    work: str
    steps: str
    given: str = ""


ARITHMETIC = (
    Kind(
        "boxes",
        "arithmetic",
        "school",
        "Each of [a] {k1} boxes holds [b] cards, and [c] cards turn out to be damaged. How many undamaged cards are"
        " there in all?",
        "a 6 40; b 8 30; c 3 40",
        "total = a * b; answer = total - c",
        r"All boxes hold $[a] \times [b] = [total]$ cards.|"
        r"Without the damaged ones there are $[total] - [c] = [answer]$.",
    ),
    Kind(
        "shares",
        "arithmetic",
        "school",
        "A stock of [t] {k1} tokens is shared equally among [n] helpers, and each helper then gives away [g] of them."
        " How many tokens does each helper keep?",
        "q 12 60; n 3 12; g 1 11",
        "share = t // n; answer = share - g",
        r"Each helper first gets $\frac{[t]}{[n]} = [share]$ tokens.|"
        r"After giving some away, $[share] - [g] = [answer]$ remain.",
        "t = q * n",
    ),
    Kind(
        "discount",
        "arithmetic",
        "school",
        "A {k1} set is listed at [p] dollars and sold at [d] percent off; delivery adds [s] dollars. What is the final"
        " price in dollars?",
        "u 2 20; d 5|10|15|20|25|30|40; s 3 19",
        "off = p * d // 100; answer = p - off + s",
        r"The reduction is $[p] \cdot \frac{[d]}{100} = [off]$ dollars.|"
        r"So one pays $[p] - [off] + [s] = [answer]$ dollars.",
        "p = 20 * u",
    ),
    Kind(
        "mean",
        "arithmetic",
        "school",
        "Over three days a {k1} log shows [a], [b] and [c] entries. How many entries are needed on the fourth day so"
        " that the mean over the four days is exactly [m]?",
        "a 10 40; b 10 40; c 10 40; m 41 60",
        "need = 4 * m; seen = a + b + c; answer = need - seen",
        r"A mean of [m] over four days means $4 \cdot [m] = [need]$ entries.|"
        r"So far there are $[a]+[b]+[c] = [seen]$."
        r"|The fourth day must bring $[need] - [seen] = [answer]$.",
    ),
    Kind(
        "remainder",
        "arithmetic",
        "contest",
        "A counter for {k1} starts at zero and grows by [a] at every step. What remainder does its reading after [n]"
        " steps leave on division by [m]?",
        "a 13 97; n 21 99; m 7|9|11|12|13|17",
        "reading = a * n; answer = reading % m",
        r"After [n] steps it reads $[a] \cdot [n] = [reading]$.|Modulo [m] this leaves $[answer]$.",
    ),
    Kind(
        "signals",
        "arithmetic",
        "contest",
        "One {k1} signal sounds every [a] minutes and another one every [b] minutes; both have just sounded together."
        " After how many minutes will they next sound together?",
        "a 6|8|10|12|18|20|24; b 9|14|15|16|21|25|28|30",
        "common = gcd(a, b); answer = a * b // common",
        r"The greatest common divisor of [a] and [b] is [common].|"
        r"The least common multiple is $\frac{[a] \cdot [b]}{[common]} = [answer]$.",
    ),
    Kind(
        "rows",
        "arithmetic",
        "contest",
        "The first {k1} row has [a] seats, and each further row has [d] seats more than the one before it. How many"
        " seats do the first [n] rows have together?",
        "a 8 25; d 2 6; n 8 20",
        "last = a + (n - 1) * d; answer = n * (a + last) // 2",
        r"Row [n] has $[a] + ([n]-1) \cdot [d] = [last]$ seats.|"
        r"The sum is $\frac{[n]([a]+[last])}{2} = [answer]$.",
    ),
)
ALGEBRA = (
    Kind(
        "tickets",
        "algebra",
        "school",
        "An order of [m] {k1} tickets with a fixed fee of [f] dollars costs [t] dollars altogether. What does one"
        " ticket cost in dollars?",
        "m 3 15; x 4 30; f 2 25",
        "rest = t - f; answer = rest // m",
        r"Let one ticket cost $x$: $[m]x + [f] = [t]$.|Then $[m]x = [rest]$ and $x = [answer]$.",
        "t = m * x + f",
    ),
    Kind(
        "teams",
        "algebra",
        "school",
        "Two {k1} teams have [s] members together, and the larger team has [d] members more than the smaller one."
        " How many members does the smaller team have?",
        "x 8 45; d 2 20",
        "double = s - d; answer = double // 2",
        r"With $x$ in the smaller team, $2x + [d] = [s]$.|"
        r"So $2x = [double]$ and $x = [answer]$.",
        "s = 2 * x + d",
    ),
    Kind(
        "folders",
        "algebra",
        "school",
        "A bundle of [a] {k1} notebooks and [b] folders costs [p] dollars, while [a] such notebooks and [c] folders"
        " cost [q] dollars. What does one folder cost in dollars?",
        "a 2 9; b 2 6; e 2 5; x 3 12; y 2 9",
        "more = c - b; gap = q - p; answer = gap // more",
        r"The second bundle has [more] more folders and costs [gap] dollars more.|"
        r"Hence a folder costs $\frac{[gap]}{[more]} = [answer]$.",
        "c = b + e; p = a * x + b * y; q = a * x + c * y",
    ),
    Kind(
        "consecutive",
        "algebra",
        "contest",
        "The product of two consecutive positive whole numbers on a {k1} chart is [p]. What is the larger of the two"
        " numbers?",
        "n 11 60",
        "small = isqrt(p); answer = small + 1",
        r"We need $x(x+1) = [p]$, and $[small]^2 \le [p]$.|"
        r"So $x = [small]$, and the larger number is $[answer]$.",
        "p = n * (n + 1)",
    ),
    Kind(
        "roots",
        "algebra",
        "contest",
        "A {k1} model leads to the equation x^2 - [s]x + [p] = 0. What is the sum of the squares of its two roots?",
        "u 3 15; v 2 14",
        "square = s * s; answer = square - 2 * p",
        r"By Vieta the roots have sum [s] and product [p].|"
        r"So the squares sum to $[s]^2 - 2 \cdot [p] = [square] - 2 \cdot [p] = [answer]$.",
        "s = u + v; p = u * v",
    ),
    Kind(
        "twice",
        "algebra",
        "contest",
        "A {k1} score is rescaled by f(x) = [a]x + [b]. For which number x is f(f(x)) equal to [t]?",
        "a 2 7; b 1 12; x 2 15",
        "inner = (t - b) // a; answer = (inner - b) // a",
        r"From $[a] f(x) + [b] = [t]$ we get $f(x) = [inner]$.|From $[a]x + [b] = [inner]$ we get $x = [answer]$.",
        "t = a * (a * x + b) + b",
    ),
)
GEOMETRY = (
    Kind(
        "plot",
        "geometry",
        "school",
        "A rectangular {k1} plot is [l] metres long and [w] metres wide, and a square corner with sides of [s] metres"
        " stays empty. How many square metres are used?",
        "l 15 40; w 9 14; s 2 8",
        "whole = l * w; corner = s * s; answer = whole - corner",
        r"The plot has $[l] \times [w] = [whole]$ square metres.|"
        r"The corner takes $[s]^2 = [corner]$.|"
        r"That leaves $[answer]$.",
    ),
    Kind(
        "fence",
        "geometry",
        "school",
        "A rectangular {k1} yard has an area of [A] square metres, and one of its sides measures [s] metres. How many"
        " metres of fence go all the way around it?",
        "t 6 40; s 5 30",
        "other = A // s; answer = 2 * (s + other)",
        r"The other side is $\frac{[A]}{[s]} = [other]$ metres.|"
        r"The perimeter is $2([s] + [other]) = [answer]$ metres.",
        "A = s * t",
    ),
    Kind(
        "ramp",
        "geometry",
        "school",
        "A straight ramp for {k1} rises [a] centimetres over a horizontal distance of [b] centimetres. How many"
        " centimetres long is the ramp?",
        "m 2 9; i 0|1|2",
        "square = a * a + b * b; answer = isqrt(square)",
        r"By Pythagoras the length satisfies $c^2 = [a]^2 + [b]^2 = [square]$.|So $c = [answer]$.",
        "a = m * (3, 5, 8)[i]; b = m * (4, 12, 15)[i]",
    ),
    Kind(
        "crate",
        "geometry",
        "contest",
        "A closed {k1} crate has edges of [a], [b] and [c] centimetres. What is its surface area in square"
        " centimetres?",
        "a 10 40; b 12 45; c 15 60",
        "faces = a * b + a * c + b * c; answer = 2 * faces",
        r"The three different faces together have $[a] \cdot [b] + [a] \cdot [c] + [b] \cdot [c] = [faces]$.|"
        r"Each occurs twice: $2 \cdot [faces] = [answer]$.",
    ),
    Kind(
        "polygon",
        "geometry",
        "contest",
        "A {k1} badge has the shape of a regular polygon with interior angles of [d] degrees. How many sides does it"
        " have?",
        "n 5|6|8|9|10|12|15|18|20|24",
        "outer = 180 - d; answer = 360 // outer",
        r"Each exterior angle is $180^\circ - [d]^\circ = [outer]^\circ$.|"
        r"Exterior angles sum to $360^\circ$, so there are $\frac{360}{[outer]} = [answer]$ sides.",
        "d = 180 - 360 // n",
    ),
    Kind(
        "panels",
        "geometry",
        "contest",
        "Two similar {k1} panels are [a] and [b] centimetres wide, and the smaller one has an area of [s] square"
        " centimetres. What is the area of the larger one in square centimetres?",
        "a 5 20; r 2 5; s 30 200",
        "ratio = b // a; answer = s * ratio * ratio",
        r"Lengths grow by the factor $\frac{[b]}{[a]} = [ratio]$.|"
        r"Areas grow by its square: $[s] \cdot [ratio]^2 = [answer]$.",
        "b = a * r",
    ),
)
KINDS_ONE = ARITHMETIC + ALGEBRA + GEOMETRY
