"""The probe as a whole: twins, and in its standard form arms trained from the start as well."""

from pathlib import Path
from typing import Any

import orjson

from cleanpipe import store
from cleanpipe.errors import RecipeError
from cleanpipe.stability.probe import sweep, twins

Tell = twins.Tell


def probe(
    raw: str, clean: str, folder: Path, form: str, tell: Tell, workers: int | None = None
) -> dict[str, Any]:
    """Run a form of the probe; the result is also written to probe.json in `folder`.

    `workers` trainings go on side by side: one a processor if not given.

    Errors: RecipeError for an unknown form, or if the folder holds another probe; InputError for
    too little text.
    """
    if form not in twins.FORMS:
        raise RecipeError(f"--form {form}: expected one of {', '.join(twins.FORMS)}")
    result = twins.probe(raw, clean, folder, twins.FORMS[form], tell, workers)
    if form == "standard":
        result["sweep"] = arms(raw, clean, folder / "sweep", form, tell, workers)
        page = orjson.dumps(result, option=orjson.OPT_INDENT_2)
        store.write_file(folder / "probe.json", lambda to: to.write(page))
    return result


def arms(
    raw: str, clean: str, folder: Path, form: str, tell: Tell, workers: int | None = None
) -> dict[str, Any]:
    """Train arms from the start; the result is also written to sweep.json in `folder`."""
    if form not in sweep.FORMS:
        raise RecipeError(f"--form {form}: expected one of {', '.join(sweep.FORMS)}")
    return sweep.sweep([raw], twins.clean_path(clean), folder, sweep.FORMS[form], tell, workers)
