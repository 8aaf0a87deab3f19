"""What a question asks for, by its words, and whether a sentence has something of that kind.

A weak sign, used as one feature beside others: "how many" wants a number, "when" a date, "who" and "where" a name that
the question does not already hold. English only; a question in another language gets 0, which moves nothing.
"""

from __future__ import annotations

import re

_COUNT = re.compile(
    r"\bhow (?:many|much|long|large|old|far|often|tall|deep|high|big|wide|fast)\b|\bpercent"
    r"|\bwhat (?:number|rate|share)|\bnumber of|\bpopulation\b"
)
_TIME = re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|era|time)\b|\bhow long ago\b")
_NAME = re.compile(
    r"\bwho(?:m|se)?\b|\bwhere\b|\bwhich\b|\bwhat (?:country|city|region|company|team|person|state|town|name)\b"
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundreds?"
    r"|thousands?|millions?|billions?|half|third|quarter|dozen|once|twice|double|none)\b",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\b(?:1\d{3}|20\d{2})s?\b|\b(?:January|February|March|April|May|June|July|August|September|October|November"
    r"|December|century|centuries|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)\b"
)
_CAPITAL = re.compile(r"(?<=[\w,;:\"(“’'] )[A-Z]\w+|(?<=[(\"“])[A-Z]\w+")


def cue(question: str, sentence: str) -> float:
    """1 (0.5 for a name) when the question asks for a kind of thing and the sentence has one, -1 when it has none, 0
    when the question asks for no particular kind."""
    asked = question.casefold()
    if _COUNT.search(asked):
        return 1.0 if _NUMBER.search(sentence) else -1.0
    if _TIME.search(asked):
        return 1.0 if _DATE.search(sentence) else -1.0
    if _NAME.search(asked):
        return 0.5 if any(n.casefold() not in asked for n in _CAPITAL.findall(sentence)) else -1.0
    return 0.0
