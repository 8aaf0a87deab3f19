"""Question answering sets in SQuAD's forms as folders of documents: one Markdown file for each paragraph."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Asked:
    """A question, the answers that count, and the file of its paragraph. No answers: SQuAD 2's impossible ones."""

    question: str
    answers: list[str]
    file: str


@dataclass(slots=True)
class Paragraphs:
    texts: dict[str, str] = field(default_factory=dict)  # paragraph -> file
    titles: dict[str, str] = field(default_factory=dict)  # file -> title
    asked: list[Asked] = field(default_factory=list)

    def add(self, title: str, paragraph: str, question: str, answers: list[str]) -> None:
        file = self.texts.get(paragraph)
        if file is None:
            file = f"{title.replace('/', '-')}-{len(self.texts):04}.md"
            self.texts[paragraph], self.titles[file] = file, title
        self.asked.append(Asked(question.strip(), list(dict.fromkeys(answers)), file))

    @property
    def answerable(self) -> list[Asked]:
        return [a for a in self.asked if a.answers]

    def write(self, folder: Path) -> None:
        """Each paragraph under its title as a heading, as people keep notes."""
        folder.mkdir(parents=True, exist_ok=True)
        for paragraph, file in self.texts.items():
            (folder / file).write_text(f"# {self.titles[file].replace('_', ' ')}\n\n{paragraph}\n", "utf-8")


def read(path: Path, without: frozenset[str] = frozenset()) -> Paragraphs:
    """A file of SQuAD's JSON (also XQuAD, also one that was cut off after its first articles), or JSON lines with
    `title`, `context`, `question`, `answers`. Articles whose title is in `without` are left out."""
    found = Paragraphs()
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        for line in text.splitlines():
            row = json.loads(line)
            if row["title"] not in without:
                found.add(row["title"], row["context"], row["question"], [a["text"] for a in row["answers"]])
        return found
    for article in articles(text):
        if article["title"] not in without:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    answers = [a["text"] for a in qa["answers"]]
                    found.add(article["title"], paragraph["context"], qa["question"], answers)
    return found


def articles(text: str) -> list[dict]:
    """The complete articles of a SQuAD file."""
    decoder, made, at = json.JSONDecoder(), [], text.index("[", text.index('"data"')) + 1
    while at < len(text):
        while at < len(text) and text[at] in ", \n\r\t":
            at += 1
        try:
            article, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        made.append(article)
    return made
