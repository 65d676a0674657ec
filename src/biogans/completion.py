"""What bash offers at the Tab key, read from the commands' parsers: `complete -o default -C completion.py train.py`."""

import sys

from . import (card, cells, collect, diversity, evaluate, explore, export, get_data, import_torch, options, preprocess,
               pseudotime, saliency, simulate, simulate_videos, traverse, visualize)

PARSERS = {"train.py": options.train_parser, "predict.py": options.predict_parser, "visualize.py": visualize.parser,
           "evaluate.py": evaluate.parser, "reconstruct.py": options.reconstruct_parser,
           "interpolate.py": options.interpolate_parser, "explore.py": explore.parser, "simulate.py": simulate.parser,
           "collect.py": collect.parser, "traverse.py": traverse.parser, "pseudotime.py": pseudotime.parser,
           "get_data.py": get_data.parser, "diversity.py": diversity.parser, "saliency.py": saliency.parser,
           "preprocess.py": preprocess.parser, "cells.py": cells.parser, "simulate_videos.py": simulate_videos.parser,
           "card.py": card.parser, "export.py": export.parser, "import_torch.py": import_torch.parser}


def candidates(parser, word, previous):
    """The options that begin with `word`, or the values that do where `previous` is an option; else none (a file)."""
    expecting = [action for action in parser._actions if previous in action.option_strings and action.nargs != 0]
    if expecting:
        names = expecting[0].choices or getattr(expecting[0].type, "names", ())
        return [name for name in names if name.lower().startswith(word.lower())]
    if not word.startswith("-"):
        return []
    return [name for action in parser._actions for name in action.option_strings if name.startswith(word)]


def main():
    """bash gives the command's name, the word to complete and the one before it, and takes lines of candidates."""
    command, word, previous = sys.argv[1:4]
    print(*candidates(PARSERS[command](), word, previous), sep="\n")
