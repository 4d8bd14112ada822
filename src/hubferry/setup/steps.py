"""From a plan to changed files and back: what becomes of each file, then all of it is written, or nothing.

A file that is as `hubferry setup` left it, or as it was before, counts as its former text. In one that somebody changed
meanwhile, only what hubferry added is taken out. A plan is made from these texts, so that it does not depend on what
was set up before: setting up twice changes nothing, and setting up with another gateway replaces the first one.

Written are, in this order: copies of the former texts, the record, the files. So whatever is interrupted can be undone.
"""

import os
from dataclasses import dataclass, replace

from hubferry.core.client_files import CannotEditError, FileWish, Plan
from hubferry.core.client_files.entries import Format
from hubferry.core.masking import has_secret
from hubferry.setup.edits import EDITORS, has_entries
from hubferry.setup.machine import Machine, Seen
from hubferry.setup.record import BACKUP, DoneFile, Record, digest_of, format_record, parse_record, path_of

FOR_ALL = 0o644
FOR_OWNER = 0o600


@dataclass(frozen=True)
class Base:
    """A file without what hubferry added: its text (None: no file), its mode, and whether somebody changed it since.

    `problem` says why that could not be found out.
    """

    text: str | None
    mode: int | None
    is_changed: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Change:
    """What becomes of a file: as it was seen, and as it is to be. None: there is no file.

    `done` is what the record will have of it, None for nothing. `problem`: it is left as it is, for this reason.
    """

    path: str
    seen: Seen | None
    after: Seen | None
    done: DoneFile | None
    base: Base
    format: Format

    @property
    def is_needed(self) -> bool:
        """Whether the file is not yet as it is to be."""
        return self.seen != self.after

    @property
    def is_taken_back(self) -> bool:
        """Whether nothing of hubferry is in the file then; not if somebody removed it, whose copy is kept."""
        is_removed = self.seen is None and self.base.is_changed
        return self.done is None and not self.base.problem and not is_removed


class Setup:
    """What was done, and is to be done, for one client on a machine."""

    def __init__(self, machine: Machine, client: str) -> None:
        """Read the record. Raises CannotEditError, OSError."""
        self._machine = machine
        self._client = client
        self._record_path = path_of(client)
        self._found = found = machine.read(self._record_path)
        self.record = Record() if found is None else parse_record(found.text, self._record_path)
        self._bases: dict[str, Base] = {}

    def texts(self, paths: list[str]) -> dict[str, str]:
        """Return the texts of files as they are without what hubferry added."""
        bases = {path: self._base(path) for path in dict.fromkeys((*paths, *(done.path for done in self.record.files)))}
        return {path: base.text for path, base in bases.items() if base.text is not None}

    def changes(self, plan: Plan | None) -> list[Change]:
        """Return what becomes of each file of a plan, and of those of an earlier one. None: everything is undone."""
        wishes = {} if plan is None else {wish.path: wish for wish in plan.files}
        paths = dict.fromkeys((*wishes, *(done.path for done in self.record.files)))
        return [self._change(path, wishes.get(path)) for path in paths]

    def write(self, changes: list[Change]) -> None:
        """Make the changes, once. Raises OSError; what was made until then can be undone.

        Raises CannotEditError, and makes none of them, if a file is not as it was when they were decided.
        """
        self._check_unchanged(changes)
        files = tuple(change.done for change in changes if change.done is not None)
        former = self.record
        if files or former.files:
            self._prepare(changes, files)
        for change in changes:
            if change.is_needed and change.after is None:
                self._machine.remove(change.path)
            elif change.is_needed and change.after is not None:
                self._machine.write(change.path, change.after)
        for change in changes:
            if change.is_taken_back and former.of(change.path) is not None:
                self._machine.remove(change.path + BACKUP)
        self.record = Record(files, self.record.folders)
        if files:
            self._write_record()
        else:
            self._forget()

    def _check_unchanged(self, changes: list[Change]) -> None:
        """Raise CannotEditError for a file that somebody changed while a person looked at the difference."""
        seen = {self._record_path: self._found} | {change.path: change.seen for change in changes}
        for path, before in seen.items():
            if self._machine.read(path) != before:
                raise CannotEditError(f"{path} was changed meanwhile, so nothing was written: give the command again")

    def _prepare(self, changes: list[Change], files: tuple[DoneFile, ...]) -> None:
        """Make folders, copies of former texts, and a record of all that is done and was done."""
        paths = [change.path for change in changes if change.after is not None]
        paths += [self._record_path] if files else []
        made = dict.fromkeys(folder for path in paths for folder in self._machine.missing_folders(path))
        for folder in made:
            self._machine.make_folder(folder)
        for change in changes:
            if change.done is not None and change.seen is not None and self.record.of(change.path) is None:
                self._machine.write(change.path + BACKUP, change.seen)
        paths = [done.path for done in files]
        others = tuple(done for done in self.record.files if done.path not in paths)
        self.record = Record((*files, *others), tuple(dict.fromkeys((*self.record.folders, *made))))
        self._write_record()

    def _forget(self) -> None:
        """Remove the record, and the folders that were made and are empty."""
        self._machine.remove(self._record_path)
        for folder in sorted(self.record.folders, key=len, reverse=True):
            self._machine.remove_folder(folder)

    def _write_record(self) -> None:
        found = self._machine.read(self._record_path)
        text = format_record(self.record)
        if found is None or found.text != text:
            self._machine.write(self._record_path, _new(text, FOR_OWNER))

    def _base(self, path: str) -> Base:
        if path not in self._bases:
            self._bases[path] = self._find_base(path)
        return self._bases[path]

    def _find_base(self, path: str) -> Base:
        seen, done = self._machine.read(path), self.record.of(path)
        if done is None:
            return Base(None, None) if seen is None else Base(seen.text, seen.mode)
        former = None if done.mode is None else self._machine.read(path + BACKUP)
        if seen is None:
            return Base(None, None, is_changed=True)
        is_ours = digest_of(seen.text) == done.written
        if done.mode is None and is_ours:
            return Base(None, None)
        if former is not None and (is_ours or seen.text == former.text):
            return Base(former.text, done.mode)
        try:
            text = EDITORS[done.format].remove(seen.text, done.entries)
        except CannotEditError as error:
            return Base(seen.text, seen.mode, is_changed=True, problem=str(error))
        is_made = done.mode is None and text.strip() in ("", "{}", done.head.strip())
        return Base(None if is_made else text, done.mode or seen.mode, is_changed=True)

    def _change(self, path: str, wish: FileWish | None) -> Change:
        seen, base, done = self._machine.read(path), self._base(path), self.record.of(path)
        if wish is None:
            format_: Format = "json" if done is None else done.format
            if base.problem:
                return Change(path, seen, seen, done, base, format_)
            is_there = base.text is not None and not (seen is None and base.is_changed)
            after = _like(seen, base.text or "", base.mode or FOR_ALL) if is_there else None
            return Change(path, seen, after, None, base, format_)
        text = _wished(wish, seen, base, done)
        if done is None and base.text == text and not _exposes(text, base.mode):
            return Change(path, seen, seen, None, base, wish.format)
        mode = (seen.mode if seen else FOR_ALL) & (FOR_OWNER if has_secret(text) else 0o7777)
        if done is None and seen is not None and self._machine.read(path + BACKUP) is not None:
            raise CannotEditError(f"{path}{BACKUP} is there, and no record says from when: move it away")
        former_mode = base.mode if done is None else done.mode
        # a text with changes of others is never taken for ours: undoing keeps them
        written = done.written if done is not None and base.is_changed else digest_of(text)
        done = DoneFile(path, wish.format, wish.entries, wish.head, former_mode, written)
        return Change(path, seen, _like(seen, text, mode), done, base, wish.format)


def _wished(wish: FileWish, seen: Seen | None, base: Base, done: DoneFile | None) -> str:
    """Return the text that a file is to have. Raises CannotEditError, which names the file."""
    is_current = done is not None and set(done.entries) <= set(wish.entries)
    if seen is not None and is_current and has_entries(wish.format, seen.text, wish.entries):
        return seen.text
    if base.problem:
        raise CannotEditError(f"{wish.path}: {base.problem}")
    try:
        return EDITORS[wish.format].add(wish.head if base.text is None else base.text, wish.entries)
    except CannotEditError as error:
        raise CannotEditError(f"{wish.path}: {error}") from None


def _exposes(text: str, mode: int | None) -> bool:
    return has_secret(text) and bool((mode or 0) & 0o077)


def _like(seen: Seen | None, text: str, mode: int) -> Seen:
    return _new(text, mode) if seen is None else replace(seen, text=text, mode=mode)


def _new(text: str, mode: int) -> Seen:
    return Seen(text, mode, os.geteuid(), os.getegid())
