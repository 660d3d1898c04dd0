"""Groups that explicit weights name and no document can be of: refused before anything is read.

Which groups there are is known early where the recipe or a model says it: sources that the inputs
are given, languages that the model has, buckets. What only the documents say, such as the values of
a column, is held against the weights as soon as pass 1 has counted it.
"""

from collections.abc import Iterator

from cleanpipe.balancing import grouping
from cleanpipe.errors import RecipeError
from cleanpipe.measures import fasttext_models
from cleanpipe.nearest import did_you_mean, listed
from cleanpipe.recipes.recipe import Recipe


def problems(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(option, what is wrong) for each weight of a group that cannot be."""
    balance = recipe.balance
    if balance is None or not balance.weights:
        return
    known = [_values(recipe, column) for column in balance.names()]
    for group in balance.weights:
        parts = grouping.values_of(group) if len(known) > 1 else [group]
        if len(parts) != len(known):
            form = grouping.JOINT.join(["..."] * len(known))
            what = f"names {len(parts)} of {len(known)} columns"
            yield "balance.weights", f"'{group}' {what}: expected {balance.label()}, '{form}'"
            continue
        for column, part, values in zip(balance.names(), parts, known, strict=True):
            if values is not None and part not in values:
                what = f"no document can have {column} '{part}'{did_you_mean(part, values)}"
                yield "balance.weights", f"'{group}': {what} (there are: {listed(values)})"


def _values(recipe: Recipe, column: str) -> set[str] | None:
    """The values that a column can have, as names of groups; None where only documents say."""
    balance = recipe.balance
    if balance is not None and column in balance.buckets:
        return {*grouping.bucket_names(column, balance.buckets[column]), grouping.NULL_GROUP}
    if column == "source" and all(one.source is not None for one in recipe.input):
        return {str(one.source) for one in recipe.input}
    identifier = recipe.measure.identifier()
    if column == "lang" and identifier is not None:
        try:
            return {*fasttext_models.labels(identifier.path()), "und", grouping.NULL_GROUP}
        except RecipeError:  # the run says what is wrong with the model
            return None
    return None
