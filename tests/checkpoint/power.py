"""A disk that forgets: what a loss of power may leave, for every moment of a save.

Nothing is on the disk but what was synced: the bytes of a file since its last `fsync`, the names in a directory since
that of the directory. All that came later may be there or not, each change of a name by itself and in any order; the
bytes of a file may be the old ones, the new ones, or zeros.
"""

import itertools
import os
import stat
import threading
from pathlib import Path

WATCHED = ("fsync", "fdatasync", "replace", "rename", "unlink", "mkdir", "rmdir")


class Disk:
    """Watches a directory, which is on the disk at first; collects all that may be left of it at any moment.

    Attributes:
      calls: What was called, by name, with the names of the files: `("fsync", "x")`.
      left: By the number of calls before: what a loss of power may leave then, as bytes by path.
    """

    def __init__(self, root, monkeypatch):
        self.root, self.calls, self.left = root, [], {}
        self._mutex, self._ids, self._count = threading.RLock(), {}, itertools.count()
        self._look()
        self._names, self._bytes = dict(self._names_now), dict(self._bytes_now)
        for name in WATCHED:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def moment(self):
        """Collects what may be left if the power fails now."""
        with self._mutex:
            self._look()
            states = self.left.setdefault(len(self.calls), set())
            for choose in ("old", "new", "zeros"):
                for files in self._directories(self._id(self.root), ""):
                    states.add(frozenset((path, self._content(each, choose)) for path, each in files))

    def write(self, state, where):
        """Makes the directory that was left."""
        for path, data in state:
            target = where / path
            if data is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)

    def _watched(self, name, function):
        def call(first, *rest, **options):
            with self._mutex:
                self.moment()
                result = function(first, *rest, **options)
                if not isinstance(first, int):
                    self.calls.append(
                        (name, *(Path(each).name for each in (first, *rest) if isinstance(each, str | os.PathLike)))
                    )
                elif name in ("fsync", "fdatasync"):
                    self._synced(first, name)
                self._look()
                return result

        return call

    def _synced(self, descriptor, name):
        self._look()
        status = os.fstat(descriptor)
        each = self._ids.get(status.st_ino)
        if each is None:
            return  # A file elsewhere.
        self.calls.append((name, self._paths[each].name))
        if stat.S_ISDIR(status.st_mode):
            self._names[each] = dict(self._names_now[each])
        else:
            self._bytes[each] = self._bytes_now[each]

    def _id(self, path):
        return self._ids.setdefault(os.stat(path).st_ino, next(self._count))

    def _look(self):
        """Reads what is there, and forgets the numbers of files that are gone, which others may get."""
        self._names_now, self._bytes_now, self._paths, seen = {}, {}, {}, set()
        for folder, folders, files in os.walk(self.root):
            here = self._id(folder)
            entries = {name: self._id(Path(folder) / name) for name in (*folders, *files)}
            self._names_now[here] = entries
            self._paths[here] = Path(folder)
            for name in files:
                self._bytes_now[entries[name]] = (Path(folder) / name).read_bytes()
                self._paths[entries[name]] = Path(folder) / name
            seen |= {here, *entries.values()}
        self._ids = {inode: each for inode, each in self._ids.items() if each in seen}

    def _directories(self, folder, path):
        """Yields what may be below a directory: lists of paths and numbers of files."""
        old, new = self._names.get(folder, {}), self._names_now.get(folder, {})
        choices = []
        for name in {**old, **new}:
            either = {old.get(name), new.get(name)}
            below = f"{path}/{name}" if path else name
            options = []
            for each in either:
                if each is None:
                    options.append([])
                elif each in self._names or each in self._names_now:
                    options += [[(below, None), *files] for files in self._directories(each, below)]
                else:
                    options.append([(below, each)])
            choices.append(options)
        for parts in itertools.product(*choices):
            yield [entry for part in parts for entry in part]

    def _content(self, each, choose):
        if each is None:
            return None
        synced = self._bytes.get(each, b"")
        now = self._bytes_now.get(each, synced)
        return {"old": synced, "new": now, "zeros": synced if now == synced else bytes(len(now))}[choose]
