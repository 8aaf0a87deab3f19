"""A multiple-choice task file of lm-evaluation-harness as a task of ours.

Understood: `output_type: multiple_choice`; data in local files (`dataset_path: json` or `csv` with
`dataset_kwargs.data_files`); `doc_to_text`, `doc_to_choice`, `doc_to_target` as templates, field names, lists or a
number; `description`, `target_delimiter`, `fewshot_delimiter`, `num_fewshot`, `fewshot_split`, and
`fewshot_config.sampler: first_n`. Few-shot examples that lm-eval draws at random are drawn here too, by our own stream,
so they are others. `acc` is our accuracy, `acc_norm` our accuracy_bytes. Everything that would change a result and is
not understood (`process_docs`, filters, `!function`, ...) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from idiolect.core import config as configuration
from idiolect.core.errors import BadInput, NotFound
from idiolect.evals.tasks import from_config
from idiolect.evals.tasks.config import Data, Examples, TaskConfig
from idiolect.evals.types import Task

READ = {
    *("task", "output_type", "dataset_path", "dataset_kwargs", "doc_to_text", "doc_to_choice", "doc_to_target"),
    *("description", "target_delimiter", "fewshot_delimiter", "num_fewshot", "fewshot_split", "fewshot_config"),
    *("test_split", "validation_split", "training_split", "metric_list"),
}
IDLE = {  # changes no figure of a multiple-choice run
    *("tag", "group", "metadata", "dataset_name", "should_decontaminate", "doc_to_decontamination_query", "task_alias"),
    *("unsafe_code", "use_prompt", "repeats", "generation_kwargs"),
}
METRICS = {"acc": "accuracy", "acc_norm": "accuracy_bytes"}
_WHOLE = re.compile(r"\s*\{\{(.*)\}\}\s*", re.DOTALL)
_NUMBERS = " ".join(map(str, range(100)))
_NAME = re.compile(r"[A-Za-z_]\w*")


class _Loader(yaml.SafeLoader):
    pass


def _refuse(loader: yaml.Loader, tag: str, node: yaml.Node) -> Any:
    raise BadInput(
        f"line {node.start_mark.line + 1} calls Python code (!{tag})", hint="write the task in YAML or Python of ours"
    )


_Loader.add_multi_constructor("!", _refuse)


def harness_task(
    path: Path | str, *, shots: int | None = None, base: Path | None = None, changes: Sequence[str] = ()
) -> Task:
    """The task of a file; `shots` in place of its `num_fewshot`; its data files are looked up beside it, then below
    `base` (None: the working directory, as lm-eval does). `changes` as for `tasks.load`. `BadInput` names the first
    thing that is not understood."""
    file = Path(path).expanduser()
    try:
        said = yaml.load(file.read_text("utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise NotFound(f"there is no task file {file}") from None
    except yaml.YAMLError as error:
        raise BadInput(
            f"{file} is not YAML: {' '.join(str(error).split())[:200]}", hint="check its indentation"
        ) from None
    except BadInput as error:
        raise BadInput(f"{file}: {error.message}", hint=error.hint) from None
    if not isinstance(said, Mapping):
        raise BadInput(f"{file} is no mapping", hint="give a task file of lm-evaluation-harness")
    made = configuration.override(config(said, str(file), shots), changes)
    return from_config(made, file.parent, base or Path.cwd())


def config(said: Mapping[str, Any], where: str = "task", shots: int | None = None) -> TaskConfig:
    """Our words for what a task file of lm-eval says."""
    for name in said:
        if name not in READ | IDLE:
            raise BadInput(f"{where}: {name} is not understood", hint="only plain multiple-choice tasks can be read")
    for name in ("output_type", "doc_to_text", "doc_to_choice", "doc_to_target"):
        if name not in said:
            raise BadInput(f"{where} has no {name}", hint="included files are not followed: write all of it in one")
    if said["output_type"] != "multiple_choice":
        raise BadInput(f"{where}: output_type is {said['output_type']!r}", hint="multiple_choice can be read")
    if int(said.get("repeats") or 1) != 1:
        raise BadInput(f"{where}: repeats is {said['repeats']}", hint="leave it out")
    asked = said.get("test_split") or said.get("validation_split")
    if not asked:
        raise BadInput(f"{where} has neither test_split nor validation_split", hint="say which part is asked")
    options, target = _options(said["doc_to_choice"], where), _target(said["doc_to_target"], where)
    examples = _examples(said, asked, shots, where)
    intro, prompt = str(said.get("description") or ""), _template(said["doc_to_text"], f"{where}: doc_to_text")
    if intro and not examples.count:
        intro, prompt = "", intro + prompt
    elif intro and not intro.endswith(examples.separator):
        raise BadInput(
            f"{where}: description does not end with fewshot_delimiter", hint="let it end so, or ask 0 shots"
        )
    wanted = [m["metric"] for m in said.get("metric_list") or ({"metric": "acc"}, {"metric": "acc_norm"})]
    for metric in wanted:
        if metric not in METRICS:
            raise BadInput(f"{where}: metric {metric!r} is not understood", hint=f"known: {', '.join(METRICS)}")
    return TaskConfig(
        task=str(said.get("task") or Path(where).stem),
        kind="choose",
        about="a task file of lm-evaluation-harness",
        data=_data(said, asked, where),
        intro=intro.removesuffix(examples.separator),
        prompt=prompt,
        options=options,
        option=str(said.get("target_delimiter", " ")) + "{{ option }}",
        target=target,
        examples=examples,
        metrics=tuple(METRICS[m] for m in wanted),
    )


def _template(said: Any, where: str) -> str:
    """A template; a bare word is the name of a field."""
    if not isinstance(said, str):
        raise BadInput(f"{where} is {said!r}", hint="a template or the name of a field can be read")
    return f"{{{{ {said} }}}}" if _NAME.fullmatch(said) else said


def _options(said: Any, where: str) -> str:
    """An expression that gives the list of options."""
    if isinstance(said, list) and all(isinstance(one, str) and "{" not in one for one in said):
        return repr(said)
    if isinstance(said, str):
        if _NAME.fullmatch(said):
            return said
        if (found := _WHOLE.fullmatch(said)) and "{{" not in found.group(1):
            return found.group(1).strip()
    raise BadInput(f"{where}: doc_to_choice is {said!r}", hint="a list of texts, a field, or one {{ expression }}")


def _target(said: Any, where: str) -> str:
    """An expression that gives the number or the text of the right option."""
    if isinstance(said, int) and not isinstance(said, bool):
        return str(said)
    if isinstance(said, str):
        found = _WHOLE.fullmatch(said)
        value = (
            said if _NAME.fullmatch(said) else found.group(1).strip() if found and "{{" not in found.group(1) else ""
        )
        if value:  # digits are a number, as lm-eval reads them
            return f"(({value}) | int) if (({value}) | string) in '{_NUMBERS}' | split else ({value})"
    raise BadInput(f"{where}: doc_to_target is {said!r}", hint="a number, a field, or one {{ expression }}")


def _data(said: Mapping[str, Any], split: str, where: str) -> Data:
    kwargs = said.get("dataset_kwargs") or {}
    files = kwargs.get("data_files") if isinstance(kwargs, Mapping) else None
    if said.get("dataset_path") not in ("json", "csv") or not files or set(kwargs) - {"data_files"}:
        raise BadInput(
            f"{where}: its data are {said.get('dataset_path')!r}, which is no local file",
            hint="get them as JSON lines and write dataset_path: json, dataset_kwargs: {data_files: {test: FILE}}",
        )
    if isinstance(files, str):
        files = {"train": files}
    if split not in files:
        raise BadInput(f"{where}: data_files has no {split!r}", hint=f"it has {', '.join(files)}")
    if not isinstance(files[split], str):
        raise BadInput(f"{where}: data_files.{split} is {files[split]!r}", hint="give one file")
    return Data(path=files[split])


def _examples(said: Mapping[str, Any], asked: str, shots: int | None, where: str) -> Examples:
    count = int(said.get("num_fewshot") or 0) if shots is None else shots
    how = said.get("fewshot_config") or {}
    if set(how) - {"sampler"} or how.get("sampler", "default") not in ("first_n", "default"):
        raise BadInput(f"{where}: fewshot_config is {how!r}", hint="only sampler: first_n can be read")
    separator = str(said.get("fewshot_delimiter", "\n\n"))
    if not count:
        return Examples(separator=separator)
    split = said.get("fewshot_split") or said.get("training_split")
    data = None if split in (None, asked) else _data(said, split, where)
    return Examples(count, data, "first" if how.get("sampler") == "first_n" else "random", separator=separator)
