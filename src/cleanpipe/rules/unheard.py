"""Languages that rules name and the recipe's model never gives: such bounds judge no document."""

import re
from collections.abc import Collection, Iterator

from cleanpipe.errors import RecipeError
from cleanpipe.measures import fasttext_models
from cleanpipe.measures.language import Language
from cleanpipe.nearest import did_you_mean
from cleanpipe.presets import OURS, is_of_preset, where_of
from cleanpipe.recipes.recipe import Recipe
from cleanpipe.recipes.recipe_tree import Node

GLOTLID = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
"""How GlotLID names languages: ISO 639-3 and the script."""
SHOWN = 5
"""Labels of a model, or languages of a rule, that a sentence names."""


def notices(recipe: Recipe, tree: Node) -> Iterator[str]:
    """A sentence for each option of the recipe's own, and one for all those of its presets.

    `tree` is the recipe over its presets. Recipes and presets may name languages as several models
    do: one of another model's names tells nothing beside one that may come. A model that cannot be
    read is for the run to refuse.
    """
    identifier = recipe.measure.identifier()
    if identifier is None:
        return
    try:
        known = {*fasttext_models.labels(identifier.path()), "und"}
        others = fasttext_models.labels(Language().path())
    except RecipeError:
        return
    of_presets: dict[str, bool] = {}
    for rule in recipe.filter.rules:
        for option in ("langs", "by_lang"):
            named = _named(tree, rule, option)
            is_heard = any(one.value in known for one in named)
            unheard = [
                one
                for one in named
                if one.value not in known
                and not is_of_preset(one)
                and not (is_heard and (one.value in others or GLOTLID.fullmatch(one.value)))
            ]
            if unheard:
                yield _told(f"filter.{rule}.{option}", unheard, len(named), identifier, known)
            elif named and all(is_of_preset(one) for one in named):
                of_presets[f"filter.{rule}.{option}"] = is_heard
    if of_presets and not any(of_presets.values()):
        examples = ", ".join(sorted(known - {"und"})[:SHOWN])
        yield (
            f"{_model(identifier)} gives none of the languages of {', '.join(of_presets)}, which "
            f"are a preset's: they judge no document. Write your own for its labels, such as "
            f"{examples}"
        )


def _named(tree: Node, rule: str, option: str) -> list[Node]:
    """Each language that an option of a rule names, where it is written."""
    node = tree
    for part in ("filter", rule, option):
        if not isinstance(node.value, dict) or part not in node.value:
            return []
        node = node.value[part]
    if isinstance(node.value, dict):
        bounds = node.value.items()
        return [Node(lang, on.key, on.key) for lang, on in bounds if on.value not in (None, False)]
    return node.value if isinstance(node.value, list) else []


def _told(
    option: str, unheard: list[Node], named: int, identifier: Language, known: Collection[str]
) -> str:
    names = [one.value for one in unheard]
    listed = ", ".join(names[:SHOWN])
    if len(names) > SHOWN:
        listed += f" and {len(names) - SHOWN} more"
    near = did_you_mean(names[0], known) if len(names) == 1 else ""
    judged = "judges no document by that"
    if option.endswith(".langs"):
        judged = "applies to no document" if len(unheard) == named else "applies to none of theirs"
    return (
        f"{option} in {where_of(unheard[0])} names {listed}, and {_model(identifier)} gives no "
        f"such language: the rule {judged}{near}"
    )


def _model(identifier: Language) -> str:
    return identifier.model or OURS
