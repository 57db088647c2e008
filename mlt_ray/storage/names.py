"""Refuses names from data that would leave their folder when they become names of files."""

from mlt_ray.errors import UserError


def plain(name: str, where: object) -> str:
    """The name, which may be a file's; `UserError`, which says `where` it is, for any other.

    Names come from files that others can write: a record in a shared bucket may name a study
    ``../../x``.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UserError(
            f"{where}: expected a name without slashes, got {name!r}; rename it, or delete what "
            "has it"
        )
    return name
