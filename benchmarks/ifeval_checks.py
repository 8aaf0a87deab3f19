"""Do our IFEval checkers say what the reference's say?

Every (prompt, instruction) of the data set meets `--each` responses that people or models really wrote (the outputs of
an instruction data set), each perturbed: made to follow the instruction, made nearly to follow it, or spoilt in some
way that has nothing to do with it. Both sides judge strictly and loosely. Language is judged by the same detector on
both sides; how often a more modern one disagrees with it is printed beside.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, data_path
from benchmarks.rivals.ifeval import reference

SUMMARY = "IFEval's 25 instructions beside the checkers of lm-evaluation-harness, on perturbed real responses."

Edit = Callable[[str, Mapping[str, Any], random.Random], str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--each", type=int, default=4, help="responses for each instruction of each prompt")
    parser.add_argument("--responses", help="JSON list with `output` fields; default: two files below --data/sft")
    parser.add_argument("--punkt", help="folder with tokenizers/punkt_tab (nltk data); default: untrained splitter")
    parser.add_argument("--limit", type=int, help="prompts")


def run(args: argparse.Namespace) -> Result:
    from idiolect.evals.ifeval import verdict
    from idiolect.evals.stats import wilson

    lines = data_path(args.data, "bench/ifeval/input_data.jsonl").read_text("utf-8").splitlines()[: args.limit]
    names = [args.responses] if args.responses else ["alpaca_en_demo.json", "rasbt_instruction_data.json"]
    files = [Path(n) if args.responses else data_path(args.data, f"sft/{n}") for n in names]
    responses = [r["output"] for f in files for r in json.loads(f.read_text("utf-8")) if r["output"].strip()]
    check, splitter = reference(args.punkt)
    rng = random.Random(0)
    total: Counter[str] = Counter()
    same: Counter[str] = Counter()
    followed: Counter[str] = Counter()
    apart: list[str] = []
    for line in lines:
        row = json.loads(line)
        for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            arguments = {k: v for k, v in given.items() if v is not None}
            for _ in range(args.each):
                response = perturbed(rng.choice(responses), name, arguments, rng)
                mine = verdict(response, [name], [arguments])
                theirs = check(name, response, arguments, row["prompt"])
                for kind, ours, rival in zip(("strict", "loose"), (mine.all_strict, mine.all_loose), theirs):
                    total[name] += 1
                    same[name] += ours == rival
                    followed[name] += rival
                    if ours != rival:
                        apart.append(f"{name} {kind}: ours {ours}, reference {rival}: {arguments} {response[:120]!r}")
    for name in sorted(total):
        print(
            f"{name:48} agree {same[name]:5}/{total[name]:<5} the reference follows {followed[name] / total[name]:.2f}"
        )
    for text in apart[:20]:
        print("  differs:", text)
    n, agreed = sum(total.values()), sum(same.values())
    interval = wilson(agreed, n)
    print(f"sentences of the reference by {splitter}; {modern(responses)}")
    share = agreed / n
    return Result(
        "ifeval_checks",
        share,
        1.0,
        share,
        "share of verdicts equal to the reference's",
        n,
        goal="agree on at least 1,000 pairs",
        met=agreed >= 2000,
        notes=[
            f"{n // 2} (response, instruction) pairs, strict and loose; 95 % interval {interval.low:.4f} to "
            f"{interval.high:.4f}",
            f"sentences of the reference by {splitter}",
            "differing: "
            + (", ".join(f"{k} {total[k] - same[k]}" for k in sorted(total) if total[k] > same[k]) or "none"),
        ],
    )


def modern(responses: list[str]) -> str:
    """How often py3langid differs from langdetect on the same responses, whole and their first line only."""
    try:
        from py3langid import classify
    except ImportError:
        return "py3langid is not installed"
    from idiolect.evals.ifeval.detect import language

    texts = [t for r in responses[:150] for t in (r, r.split("\n")[0][:40])]
    differ = sum((language(t) or "?").split("-")[0] != classify(t)[0] for t in texts)
    return f"py3langid names another language on {differ} of {len(texts)} whole and cut responses"


# ------------------------------------------------------------------------------------------------ perturbations


def perturbed(text: str, name: str, given: Mapping[str, Any], rng: random.Random) -> str:
    """A third made to follow, a third made to follow and then spoilt, a third spoilt only."""
    choice = rng.random()
    if choice < 2 / 3:
        text = HELPFUL.get(name, lambda t, *_: t)(text, given, rng)
    if choice > 1 / 3:
        for _ in range(rng.randint(1, 2)):
            text = rng.choice(SPOILING)(text, given, rng)
    return text


def _grown(text: str, wanted: int, unit: str) -> str:
    have = len(text.split()) if unit == "words" else text.count(". ") + 1
    return " ".join([text.strip()] * max(1, round(wanted / max(1, have))))


def _inserted(text: str, pieces: list[str], rng: random.Random) -> str:
    words = text.split(" ")
    for piece in pieces:
        words.insert(rng.randint(0, len(words)), piece)
    return " ".join(words)


def _near(count: Any, rng: random.Random) -> int:
    return max(0, int(count) + rng.choice([-1, 0, 0, 0, 1]))


def _paragraphs(text: str, count: int, between: str) -> str:
    words = text.split()
    step = max(1, len(words) // max(1, count))
    return between.join(" ".join(words[i * step : (i + 1) * step]) or "end" for i in range(count))


SENTENCES = {  # a few words in languages that the data set asks for
    "mr": "हा एक छोटा मजकूर आहे आणि तो मराठीत लिहिला आहे.",
    "hi": "यह एक छोटा पाठ है और यह हिंदी में लिखा गया है।",
    "pa": "ਇਹ ਇੱਕ ਛੋਟਾ ਪਾਠ ਹੈ ਅਤੇ ਇਹ ਪੰਜਾਬੀ ਵਿੱਚ ਲਿਖਿਆ ਗਿਆ ਹੈ।",
    "de": "Dies ist ein kurzer Text, der auf Deutsch geschrieben wurde.",
    "fr": "Ceci est un petit texte qui a été écrit en français.",
    "it": "Questo è un breve testo che è stato scritto in italiano.",
    "pt": "Este é um pequeno texto que foi escrito em português.",
    "ru": "Это небольшой текст, который написан на русском языке.",
    "bg": "Това е кратък текст, който е написан на български език.",
    "fi": "Tämä on lyhyt teksti, joka on kirjoitettu suomeksi.",
    "vi": "Đây là một đoạn văn ngắn được viết bằng tiếng Việt.",
    "ko": "이것은 한국어로 쓰여진 짧은 글입니다.",
    "th": "นี่คือข้อความสั้น ๆ ที่เขียนเป็นภาษาไทย",
    "ar": "هذا نص قصير مكتوب باللغة العربية.",
    "fa": "این یک متن کوتاه است که به زبان فارسی نوشته شده است.",
    "ur": "یہ ایک چھوٹی سی تحریر ہے جو اردو میں لکھی گئی ہے۔",
    "bn": "এটি বাংলায় লেখা একটি ছোট পাঠ্য।",
    "ta": "இது தமிழில் எழுதப்பட்ட ஒரு சிறிய உரை.",
    "te": "ఇది తెలుగులో రాసిన చిన్న వచనం.",
    "gu": "આ ગુજરાતીમાં લખાયેલું ટૂંકું લખાણ છે.",
    "kn": "ಇದು ಕನ್ನಡದಲ್ಲಿ ಬರೆದ ಚಿಕ್ಕ ಪಠ್ಯ.",
    "ne": "यो नेपाली भाषामा लेखिएको छोटो पाठ हो।",
    "sw": "Haya ni maandishi mafupi ambayo yameandikwa kwa Kiswahili.",
}

HELPFUL: dict[str, Edit] = {
    "keywords:existence": lambda t, g, r: _inserted(t, [r.choice([str.upper, str.lower])(k) for k in g["keywords"]], r),
    "keywords:frequency": lambda t, g, r: _inserted(t, [g["keyword"]] * _near(g["frequency"], r), r),
    "keywords:forbidden_words": lambda t, g, r: _inserted(
        t, [r.choice(g["forbidden_words"]) + r.choice(["", "s", "."])], r
    ),
    "keywords:letter_frequency": lambda t, g, r: _inserted(t, [g["letter"]] * _near(g["let_frequency"], r), r),
    "language:response_language": lambda t, g, r: r.choice(
        [SENTENCES.get(g["language"], t), r.choice([*SENTENCES.values()])]
    ),
    "length_constraints:number_words": lambda t, g, r: _grown(t, g["num_words"], "words"),
    "length_constraints:number_sentences": lambda t, g, r: _grown(t, g["num_sentences"], "sentences"),
    "length_constraints:number_paragraphs": lambda t, g, r: _paragraphs(t, _near(g["num_paragraphs"], r), "\n***\n"),
    "length_constraints:nth_paragraph_first_word": lambda t, g, r: "\n\n".join(
        r.choice([g["first_word"], g["first_word"].title() + ",", '"' + g["first_word"], "Other"]) + " " + p
        for p in _paragraphs(t, _near(g["num_paragraphs"], r), "\n\n").split("\n\n")
    ),
    "detectable_content:number_placeholders": lambda t, g, r: _inserted(
        t, ["[name]"] * _near(g["num_placeholders"], r), r
    ),
    "detectable_content:postscript": lambda t, g, r: (
        t + "\n\n" + r.choice(["P.S. x", "P. S. x", "P.P.S x", "p.s. y", "PS z"])
    ),
    "detectable_format:number_bullet_lists": lambda t, g, r: (
        t + "".join(f"\n{r.choice(['* ', '- ', '  * ', '** '])}point" for _ in range(_near(g["num_bullets"], r)))
    ),
    "detectable_format:number_highlighted_sections": lambda t, g, r: _inserted(
        t, [r.choice(["*so*", "**so**", "* *", "*a b*"]) for _ in range(_near(g["num_highlights"], r))], r
    ),
    "detectable_format:multiple_sections": lambda t, g, r: "\n".join(
        f"{g['section_spliter']}{r.choice([' ', ''])}{i + 1}\n{t}" for i in range(_near(g["num_sections"], r))
    ),
    "detectable_format:title": lambda t, g, r: r.choice(["<<a title>>", "<< >>", "<title>", "<<<x>>>"]) + "\n" + t,
    "detectable_format:json_format": lambda t, g, r: r.choice(
        ["{}", "```json\n{}\n```", "```\n{}\n```", "Here:\n{}"]
    ).format(json.dumps({"answer": t})),
    "detectable_format:constrained_response": lambda t, g, r: r.choice(
        ["My answer is yes.", "My answer is no.", "my answer is maybe.", "Well. My answer is maybe. Fine."]
    ),
    "combination:repeat_prompt": lambda t, g, r: r.choice([str.upper, str])(g["prompt_to_repeat"]) + "\n\n" + t,
    "combination:two_responses": lambda t, g, r: (
        t + r.choice(["\n******\n", "******", "\n***\n"]) + r.choice([t, "other", ""])
    ),
    "change_case:english_capital": lambda t, g, r: t.upper(),
    "change_case:english_lowercase": lambda t, g, r: t.lower(),
    "change_case:capital_word_frequency": lambda t, g, r: _inserted(
        t,
        [
            r.choice(["NASA", "WELL-KNOWN", "IT'S", "A/B", "(OK)", "U.S.", "NO!"])
            for _ in range(_near(g["capital_frequency"], r))
        ],
        r,
    ),
    "startend:end_checker": lambda t, g, r: t + " " + g["end_phrase"],
    "startend:quotation": lambda t, g, r: f'"{t}"',
    "punctuation:no_comma": lambda t, g, r: t.replace(",", ""),
}

SPOILING: list[Edit] = [
    lambda t, g, r: "Sure! Here it is:\n" + t,
    lambda t, g, r: t + "\nI hope this helps!",
    lambda t, g, r: "**" + t + "**",
    lambda t, g, r: t.replace(". ", ".\n\n"),
    lambda t, g, r: "  " + t + "\n\n",
    lambda t, g, r: t[: len(t) // 2],
    lambda t, g, r: "",
    lambda t, g, r: t.replace("\n", " "),
    lambda t, g, r: t.title(),
    lambda t, g, r: t + " e.g. Dr. Smith of the U.S. paid $3.5 million. Really?! Yes...",
    lambda t, g, r: '"' + t,
    lambda t, g, r: "```\n" + t + "\n```",
]
