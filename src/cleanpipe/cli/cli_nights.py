"""The verbs of what nights leave behind: forget, rollback, gc."""

import sys
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

SHOWN = 20


def forget(output: Path, *ids: str, json: bool = False) -> int:
    """Take documents out of what is published, and keep them out.

    The parts that hold them are written again without them. Duplicates that had given way to them
    are listed: the next `cleanpipe run --incremental` reads their files again and may take them.
    Their text stays on the disk until `cleanpipe gc OUT --keep 1`.

    Parameters
    ----------
    output
        The output folder.
    ids
        Ids of documents; all documents of an id are taken out.
    json
        Print what was done as JSON.
    """
    from cleanpipe.errors import RecipeError  # noqa: PLC0415 - heavy; --help needs none
    from cleanpipe.nights.nights import forget as take_out  # noqa: PLC0415

    if not ids:
        raise RecipeError("forget: expected at least one id, such as `cleanpipe forget OUT ID`")
    done = take_out(output, ids)
    if json:
        return _print_json(done)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{output}: {done['rows']} rows of {done['documents']} ids were taken out; "
        f"{len(done['parts'])} parts were written again. Until `cleanpipe gc {output} --keep 1` "
        "their text is still on the disk"
    )
    for one in done["freed"][:SHOWN]:
        said = f"{one['id']} ({one['shard']}, row {one['row']}) had given way to"
        console.print(f"{said} {one['duplicate_of']}: the next night may take it")
    if len(done["freed"]) > SHOWN:
        console.print(f"and {len(done['freed']) - SHOWN} more; --json names all")
    return 0


def rollback(output: Path, *, to: int | None = None, json: bool = False) -> int:
    """Publish what was published before.

    Parameters
    ----------
    output
        The output folder.
    to
        The number of an earlier manifest. Default: the one before the published one.
    json
        Print what was done as JSON.
    """
    from cleanpipe.nights.nights import rollback as take_back  # noqa: PLC0415

    done = take_back(output, to)
    if json:
        return _print_json(done)
    Console(highlight=False, markup=False, soft_wrap=True).print(
        f"{output}: manifest {done['number']} (run {done['run']}) is published again, in place of "
        f"{done['before']['number']} (run {done['before']['run']}). The next night finds the same "
        "files new: take out or mend what was wrong with them before it"
    )
    return 0


def gc(output: Path, *, keep: int = 2, dry_run: bool = False, json: bool = False) -> int:
    """Delete what none of the newest published manifests names.

    Parameters
    ----------
    output
        The output folder.
    keep
        How many manifests keep their files, the published one among them; a rollback can go to
        any of these.
    dry_run
        Only say what would be deleted.
    json
        Print the paths as JSON.
    """
    from cleanpipe.nights.nights import gc as collect  # noqa: PLC0415
    from cleanpipe.report.summary import megabytes  # noqa: PLC0415

    done = collect(output, keep=keep, dry_run=dry_run)
    if json:
        return _print_json(done)
    verb = "would be deleted" if dry_run else "were deleted"
    Console(highlight=False, markup=False, soft_wrap=True).print(
        f"{output}: {len(done['paths'])} files of {megabytes(done['bytes'])} {verb}"
    )
    return 0


def _print_json(value: Any) -> int:
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0
