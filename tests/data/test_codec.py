"""Ids and loss masks: what is learned is the answer and its end, whatever the template."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tokenizers as tk
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.core.call import Message, ToolCall
from idiolect.core.errors import BadInput
from idiolect.data.codec import Codec
from idiolect.data.examples import Chat, Completion, Labelled, Preference, Text
from idiolect.text.hf import HFTokenizer
from idiolect.text.template import Template
from tests.data.parts import codec, tokenizer

ENDS = {"chatml": "<|im_end|>", "chatml_generation": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<end_of_turn>"}
WORDS = st.text("abc é.", min_size=1, max_size=12).filter(lambda t: t == t.strip())


def learned(c: Codec, row: int, example: object) -> str:
    ids, counted = c.rows(example)[0].segments[row]  # type: ignore[arg-type]
    return c.tokenizer.decode(ids[counted > 0].tolist(), special=True)


@pytest.mark.parametrize("name", ENDS)
@settings(deadline=None, max_examples=25)
@given(asked=WORDS, answer=WORDS, second=WORDS)
def test_answers_are_learned_and_nothing_else(name: str, asked: str, answer: str, second: str) -> None:
    c, end = codec(name), ENDS[name]
    said = [Message("user", asked), Message("assistant", answer), Message("user", asked), Message("assistant", second)]
    assert learned(c, 0, Chat(tuple(said))) == answer + end + second + end
    assert learned(c, 0, Completion(asked, answer)) == answer + end
    asked_again = Chat(tuple(said), asked=3)
    assert learned(c, 0, asked_again) == second + end, "what a prompt says is not learned, whoever says it"
    pair = Preference(tuple(said[:3]), ((Message("assistant", second),), (Message("assistant", second + "x"),)))
    assert learned(c, 0, pair) == second + end, "an answer of the history is not the response"
    assert learned(c, 1, pair) == second + "x" + end


@settings(deadline=None, max_examples=25)
@given(prompt=st.text("abc é.", max_size=12), answer=WORDS)
def test_without_a_template_prompt_and_completion_follow_one_another(prompt: str, answer: str) -> None:
    for c in (codec(None), codec(chat=False)):
        ids, counted = c.rows(Completion(prompt, answer))[0].segments[0]
        own = tokenizer().encode(prompt)
        assert ids[: len(own)].tolist() == own, "the prompt's tokens are those that the model will be given"
        assert counted.tolist() == [0] * len(own) + [1] * (len(ids) - len(own))
        assert ids[-1] == tokenizer().eos_ids[0]
        assert tokenizer().decode(ids[:-1].tolist()) == prompt + answer


def test_the_plain_template_learns_answers() -> None:
    c = codec(None)
    said = (Message("system", "s"), Message("user", "a"), Message("assistant", "b c"))
    ids, counted = c.rows(Chat(said))[0].segments[0]
    assert c.tokenizer.decode(ids.tolist(), special=True) == "system: s\n\nuser: a\n\nassistant: b c<|im_end|>"
    assert c.tokenizer.decode(ids[counted > 0].tolist(), special=True) == " b c<|im_end|>"
    asked = c.template.render(said[:-1], add_generation=True).ids
    assert ids[: len(asked)].tolist() == asked, "what is asked later is what was trained on"


def test_beginnings_and_ends_of_texts() -> None:
    chatml, llama = codec(), Codec(tokenizer("llama3"), None, context=512)
    assert chatml.rows(Text("a b"))[0].segments[0][0].tolist() == [*tokenizer().encode("a b"), tokenizer().eos_ids[0]]
    t = tokenizer("llama3")
    assert llama.rows(Text("a b"))[0].segments[0][0].tolist() == [t.bos_id, *t.encode("a b"), t.eos_ids[0]]
    assert len(llama.rows(Text("a b", first=False, last=False))[0].segments[0][0]) == len(t.encode("a b"))
    assert llama.rows(Labelled("a b", "x"))[0].segments[0][0].tolist() == t.frame(t.encode("a b"))


def test_too_long_is_what_was_asked_for() -> None:
    text, chat = Text("a b c " * 50), Completion("a " * 30, "b " * 30)
    for c in (codec(context=40, too_long="split"), codec(context=40, too_long="drop")):
        assert c.rows(chat) == []
    assert codec(context=40, too_long="drop").rows(text) == []
    whole = codec().rows(text)[0].segments[0][0]
    pieces = [row.segments[0][0] for row in codec(context=40, too_long="split").rows(text)]
    assert np.concatenate(pieces).tolist() == whole[: sum(map(len, pieces))].tolist()
    assert len(whole) - sum(map(len, pieces)) < 2
    (cut,) = codec(context=40, too_long="truncate").rows(text)
    assert len(cut.segments[0][0]) == 40
    assert cut.cut == len(whole) - 40
    assert codec(context=20, too_long="truncate").rows(chat) == [], "nothing to learn would be left"
    with pytest.raises(BadInput, match="the context 40"):
        codec(context=40, too_long="stop").rows(chat)


def test_a_token_left_over_is_counted() -> None:
    whole = codec().rows(Text("a b c " * 50))[0].segments[0][0]
    (row,) = codec(context=len(whole) - 1).rows(Text("a b c " * 50))
    assert len(row.segments[0][0]) == len(whole) - 1
    assert row.cut == 1


def test_a_text_that_is_cut_keeps_its_frame() -> None:
    """As `headed.load(...).scores` asks, and as transformers truncates: [CLS] words [SEP]."""
    backend = tk.Tokenizer(tk.models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}, "[UNK]"))
    backend.pre_tokenizer = tk.pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["[CLS]", "[SEP]"])
    backend.post_processor = tk.processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    words = HFTokenizer(json.loads(backend.to_str()), {"cls_token": "[CLS]", "sep_token": "[SEP]"})
    (row,) = Codec(words, None, context=6, too_long="truncate").rows(Labelled("a " * 9, "x"))
    assert row.segments[0][0].tolist() == [1, 3, 3, 3, 3, 2] == words.frame(words.encode("a " * 9), 6)
    assert row.cut == 5
    assert Codec(words, None, context=6, too_long="drop").rows(Labelled("a " * 9, "x")) == []


def test_what_a_template_drops_is_refused() -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("1", "look_up", "{}"),))
    with pytest.raises(BadInput, match="'look_up'"):
        codec("chatml").rows(Chat((Message("user", "a"), call)))
    source = (
        "{% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.role }}\n"
        "{{ m.content.split('</think>')[-1] | trim }}<|im_end|>{% endif %}{% endfor %}"
    )
    deaf = Codec(tokenizer(), Template(source, tokenizer()), context=512)
    said = (Message("user", " a\n"), Message("assistant", "<think>\nb\n</think>\n\nc\nd "))
    assert len(deaf.rows(Chat(said))) == 1, "thoughts and white space may go"
    with pytest.raises(BadInput, match="leaves turn 1, the system's, out"):
        deaf.rows(Chat((Message("system", "be kind"), *said)))


def test_the_fingerprint_sees_every_setting() -> None:
    made = [
        codec(),
        codec(context=511),
        codec(too_long="drop"),
        codec(chat=False),
        codec(None),
        codec("qwen2"),
        codec("llama3"),
    ]
    assert len({c.fingerprint for c in made}) == len(made)
    assert codec().fingerprint == codec().fingerprint
