"""Many questions to a language model: several at a time, and none twice, whatever stopped the run before."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from sae_kedro.errors import InputError
from sae_kedro.interpretation.llm.client import FIRST_QUESTION, LanguageModel, NoAnswer
from sae_kedro.interpretation.llm.prompts import Question, Unusable

FAILURES_IN_A_ROW = 8
"""Calls that fail one after the other, until the rest is not tried any more."""
NOT_TRIED = "not tried after these"


class Interview:
    """Asks a language model, and keeps usable answers in a file, a line each, as soon as they are there.

    A line holds the hash of the endpoint, the model, its temperature and the whole prompt, and the answer: neither
    texts nor the API key. What failed is not kept, so the next run tries it again.

    Args:
        model: Whom to ask.
        file: Where answers are kept; None: in memory.

    Raises:
        InputError: The file cannot be read.
    """

    def __init__(self, model: LanguageModel, file: Path | None = None) -> None:
        self._model, self._file, self._lock = model, file, Lock()
        self._answers: dict[str, str] = {}
        self._failed_in_a_row = 0
        if file is not None and file.exists():
            self._read(file)

    def check(self) -> None:
        """Make sure that the endpoint answers, unless it has done so before.

        Raises:
            InputError: It does not.
        """
        if self._key(FIRST_QUESTION) not in self._answers:
            self._model.check()
            self._keep(self._key(FIRST_QUESTION), "")

    def known(self, question: Question) -> Any:
        """Return what an earlier answer to a question says, or None."""
        answer = self._answers.get(self._key(question.prompt))
        try:
            return None if answer is None else question.read(answer)
        except Unusable:  # what an earlier version took for one
            return None

    def ask(self, questions: Sequence[Question], what: str) -> tuple[list[Any], Counter[str]]:
        """Ask all questions that were not answered before.

        Args:
            questions: What to ask.
            what: What the progress bar is called.

        Returns:
            What each answer says, None where there is none; and how often there was none for which reason.

        Raises:
            InputError: Answers cannot be written down.
        """
        found: list[Any] = [self.known(question) for question in questions]
        left = [place for place, value in enumerate(found) if value is None]
        problems: Counter[str] = Counter()
        if not left:
            return found, problems
        self._failed_in_a_row = 0
        pool = ThreadPoolExecutor(self._model.concurrency)
        try:
            asked = {pool.submit(self._ask, questions[place]): place for place in left}
            for done in tqdm(as_completed(asked), total=len(left), unit=" answers", desc=what):
                try:
                    found[asked[done]] = done.result()
                except (NoAnswer, Unusable) as error:
                    problems[str(error)] += 1
        finally:
            pool.shutdown(cancel_futures=True)  # waits for answers under way, which are paid for
        return found, problems

    def _ask(self, question: Question) -> Any:
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            raise NoAnswer(NOT_TRIED)
        try:
            answer = self._model.ask(question.prompt)
        except NoAnswer:
            with self._lock:
                self._failed_in_a_row += 1
            raise
        self._failed_in_a_row = 0
        value = question.read(answer)
        self._keep(self._key(question.prompt), answer)
        return value

    def _key(self, prompt: str) -> str:
        model = self._model
        identity = [urlsplit(model.base_url).netloc.lower(), model.name, model.temperature, prompt]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def _read(self, file: Path) -> None:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
        for line in lines:
            try:
                row = json.loads(line)
                self._answers[row["key"]] = row["answer"]
            except (
                ValueError,
                KeyError,
                TypeError,
            ):  # a run was stopped in this line
                continue

    def _keep(self, key: str, answer: str) -> None:
        with self._lock:
            self._answers[key] = answer
            if self._file is None:
                return
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(f"\n{json.dumps({'key': key, 'answer': answer})}")  # a line cut short ends here
            except OSError as error:
                raise InputError(f"{self._file} cannot be written: {error.strerror or error}") from error
