"""The quiz at the end of each notebook of the course: explains every answer, whether it is right or wrong.

course/build.py writes the explanations, quizzes/<notebook>.json, from the sources of the notebooks.
"""

import json
from pathlib import Path
from typing import Any

QUIZZES = Path(__file__).with_name("quizzes")


def check_quiz(notebook: str, answers: Any) -> None:
    """Print for each answer, {number of the question: letter}, whether it is right, and why.

    Questions without an answer get a hint. The right letter is not given away. "B", "b)" and the number in quotes are
    understood, too.
    """
    questions = json.loads((QUIZZES / f"{notebook}.json").read_text(encoding="utf-8"))
    if not isinstance(answers, dict):
        print('answers should be a dictionary of letters, such as {1: "a", 2: "b"}, '
              f"not {'empty' if answers is None else 'of type ' + type(answers).__name__}")
        return
    right = [_is_right(number, options, answers.get(number, answers.get(str(number))))
             for number, options in enumerate(questions, 1)]
    if all(right):
        print(f"✓ quiz: all {len(right)} answers are right")
    else:
        print(f"{sum(right)} of {len(right)} answers are right: think again about the others, and run this cell again")


def _is_right(number: int, options: dict[str, dict[str, Any]], answer: Any) -> bool:
    """Whether an answer is right; prints why."""
    letter = answer.strip(" ().").lower() if isinstance(answer, str) else None
    if letter not in options:
        print(f'Question {number}: write one of the letters {", ".join(options)} in quotes, such as {number}: "a"')
        return False
    right = options[letter]["right"]
    print(f"Question {number}, {letter}) {'✓ right' if right else '✗ not right'}. {options[letter]['why']}")
    return right
