"""A contract of import-linter: a room may import the standard library, the named rooms and libraries, and no others.

A contract that lists what is forbidden would allow every library that nobody has thought of.
"""

from __future__ import annotations

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class AllowlistContract(Contract):
    """What a room may import.

    Attributes:
        room: The module, with all in it.
        rooms: Modules of ours that it may import, each with all in it.
        libraries: Third-party packages that it may import.
        without: Modules of the standard library that it may not import.
    """

    type_name = "allowlist"

    room: Any = fields.StringField()
    rooms: Any = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    libraries: Any = fields.ListField(subfield=fields.StringField(), required=False, default=[])
    without: Any = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at every import of the room's modules."""
        del verbose
        if self.room not in graph.modules:
            raise ValueError(f"{self.name}: there is no module {self.room}")
        inside = {self.room, *graph.find_descendants(self.room)}
        broken = [
            (
                importer,
                imported,
                [each["line_number"] for each in graph.get_import_details(importer=importer, imported=imported)],
            )
            for importer in sorted(inside)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if not self._may_import(imported)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def _may_import(self, module: str) -> bool:
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            return not any(_is_in(module, each) for each in self.without)
        return any(_is_in(module, each) for each in (self.room, *self.rooms, *self.libraries))

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the imports that are not allowed."""
        for importer, imported, lines in check.metadata["broken"]:
            where = ", ".join(f"l.{line}" for line in lines)
            output.print_error(f"{importer} imports {imported} ({where}), which {self.room} may not", bold=False)


def _is_in(module: str, package: str) -> bool:
    # A package's own face is not all that is in it: proxy_addon alone allows its version and nothing else.
    return module == package or (package != "proxy_addon" and module.startswith(f"{package}."))
