"""Functions of an installed package and what their docstrings say first, read without importing."""

import ast
import base64
import hashlib
import importlib.metadata
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path, PurePath

from tasks.core.errors import BadInput

log = logging.getLogger(__name__)

_SKIPPED_NAMES = {
    "array_api_compat",
    "array_api_extra",
    "conftest",
    "distutils",  # numpy ships it in the wheels of some Python versions only
    "examples",
    "extern",
    "externals",
    "setup",
    "test",
    "testing",
    "tests",
    "third_party",
    "vendor",
    "vendored",
    "version",
}
_NO_FUNCTION = {"cached_property", "deleter", "getter", "overload", "property", "setter"}
_REFERENCE = re.compile(r"(:[a-zA-Z][\w:+-]*:)?`([^`]+)`(_{0,2})")
_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)(?<!\bcf)(?<!\.)\.(?=\s+[A-Z`*]|$)"
)
_NO_SUMMARY = re.compile(
    r"""
    (?-i:[^A-Z0-9`])      # no sentence: a directive, a field, an example, a note to oneself
    | \w+[\w.]*\(.*\)$    # the signature once more
    | .*\bdeprecated\b
    | (see|same\ as|alias|refer\ to|undocumented|todo|internal|private|not\ implemented|do\ not\ use
      |wrapper\ (for|around)|supported)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_UNFINISHED = re.compile(
    r"([:,;(]|--|\b(a|an|and|are|as|at|by|for|from|in|into|is|like|of|on|or|that|the|to|using|via"
    r"|when|where|which|with))$",
    re.IGNORECASE,
)
_NO_TEXT = re.compile(r">>>|:(?![\w:+-]+:`)\w|- |([=\-~^\"'#*+])\1{2,}$")
_LONGEST_SUMMARY = 240


@dataclass(frozen=True, slots=True)
class Function:
    """One documented function or method.

    `module` is the public module around it, `group` the module of the file that defines it.
    """

    id: str
    module: str
    group: str
    signature: str
    summary: str


def functions(package: str) -> list[Function]:
    """Public, documented functions and methods of an installed package, sorted by `id`.

    Only files that the wheel shipped are read, as its RECORD lists them; a file whose bytes differ
    from the RECORD is an error, so that equal versions give equal functions on every machine.

    Public is what has no leading underscore in its path or name. What a private module defines is
    public in the package around it if the module's `__all__` or that package imports it by name.

    Raises:
        BadInput: the package is not installed, lists no files, or was changed.
    """
    found: list[Function] = []
    imported: dict[tuple[str, ...], set[str]] = {}
    for parts, path in _sources(package):
        tree = _parse(path)
        if tree is None:
            continue
        if path.stem == "__init__":
            imported[parts] = _imported(tree, parts[0])
        public = tuple(takewhile(lambda part: not part.startswith("_"), parts))
        exported = None
        if public != parts:
            exported = _exported(tree) | imported.get(public, set())
        found.extend(_of_module(".".join(public), ".".join(parts), tree, exported))
    return _with_unique_ids(found)


def version(package: str) -> str:
    """The installed version of a package.

    Raises:
        BadInput: the package is not installed.
    """
    return _distribution(package).version


def _distribution(package: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise BadInput(
            f"collect: the package {package} is not installed; run `make setup`, "
            "or name other packages in params.yaml"
        ) from None


def _sources(package: str) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Module name (in parts) and file of every source, a package before the modules inside it."""
    distribution = _distribution(package)
    if not distribution.files:
        raise BadInput(
            f"collect: {package} does not list what it installed (no RECORD); run `make setup`"
        )
    for file in sorted(distribution.files, key=_module_parts):
        if file.suffix != ".py" or file.hash is None or not _is_source(file):
            continue
        path = Path(str(distribution.locate_file(file)))
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        digest = hashlib.new(file.hash.mode, data).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            raise BadInput(
                f"{path}: differs from what {package} {distribution.version} ships; "
                f"reinstall the package (pip install --force-reinstall --no-deps {package}"
                f"=={distribution.version})"
            )
        yield _module_parts(file), path


def _is_source(name: PurePath) -> bool:
    parts = [*name.parts[:-1], name.stem]
    if parts == ["__init__"] or ".." in parts:
        return False
    names = {part.lower().lstrip("_") for part in parts}
    return not names & _SKIPPED_NAMES and not any(
        part.startswith("test_") or part.endswith("_test") for part in names
    )


def _module_parts(name: PurePath) -> tuple[str, ...]:
    return name.parts[:-1] if name.stem == "__init__" else (*name.parts[:-1], name.stem)


def _parse(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the packages' own strings
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        log.warning("%s: not read: %s", path, error)
        return None


def _of_module(
    module: str, group: str, tree: ast.Module, exported: set[str] | None
) -> Iterator[Function]:
    for qualified, node in _definitions(tree.body):
        if exported is not None and qualified.split(".")[0] not in exported:
            continue
        summary = summarise(ast.get_docstring(node, clean=False) or "", node.name)
        signature = _signature(qualified, node)
        if summary and signature:
            yield Function(f"{group}.{qualified}", module, group, signature, summary)


def _exported(tree: ast.Module) -> set[str]:
    """Names in the module's `__all__`, as far as they are written out."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            constants = (item.value for item in ast.walk(node) if isinstance(item, ast.Constant))
            names.update(value for value in constants if isinstance(value, str))
    return names


def _imported(tree: ast.Module, package: str) -> set[str]:
    """Names that a package's `__init__` imports from the package's own modules."""
    return {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        and (node.level or (node.module or "").split(".")[0] == package)
        for alias in node.names
        if not alias.asname
    }


def _definitions(
    body: Iterable[ast.stmt], inside: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _definitions([*node.body, *node.orelse], inside)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _definitions(node.body, f"{inside}{node.name}.")
        elif (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and not node.name.startswith("_")
            and not _NO_FUNCTION & {_last_name(decorator) for decorator in node.decorator_list}
        ):
            yield f"{inside}{node.name}", node


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _signature(qualified: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    parts: list[ast.AST] = [node.args] if node.returns is None else [node.args, node.returns]
    # Python versions write f-strings back in different ways; next to no signature has one.
    if any(isinstance(inner, ast.JoinedStr) for part in parts for inner in ast.walk(part)):
        return None
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return " ".join(f"{qualified}({ast.unparse(node.args)}){returns}".split())


def summarise(docstring: str, name: str) -> str | None:
    """The first sentence of a docstring's first paragraph as plain text on one line.

    None where that summarises nothing: it is shorter than three words, a heading, a directive, a
    field list, an example, a signature, a mere reference ("See …", "Deprecated …"), the function's
    name again, an unfinished sentence, or a note to oneself (no capital letter).
    """
    lines = [line.strip() for line in docstring.strip().splitlines()]
    paragraph = lines[: lines.index("")] if "" in lines else lines
    if any(_NO_TEXT.match(line) for line in paragraph):
        return None
    text = " ".join(" ".join(paragraph).split()).replace("``", "`")
    text = _REFERENCE.sub(_shown, text)
    end = _SENTENCE_END.search(text)
    if end:
        text = text[: end.end()]
    words = re.findall(r"[^\W_]+", text.lower())
    name_words = set(re.findall(r"[^\W_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
    if (
        len(words) < 3
        or len(text) > _LONGEST_SUMMARY
        or _NO_SUMMARY.match(text)
        or _UNFINISHED.search(text)
        or any(sign in text for sign in ("://", "{", "}"))
        or text.count("`") % 2
        or set(words) <= name_words | {"a", "an", "the", name.lower()}
        or sum(character.isalpha() for character in text) < 0.5 * len(text)
    ):
        return None
    return text


def _shown(reference: re.Match[str]) -> str:
    """What Sphinx shows for a reference: `title <target>`, `~package.Name`, `.Name`, `_orm.Name`.

    The last is SQLAlchemy's shorthand for its own packages.
    """
    role, text, link = reference.groups()
    if role or link:
        text = re.sub(r"(?<=\S)\s*<[^<>]*>$", "", text)
    if text.startswith("~"):
        text = text.rsplit(".", 1)[-1].lstrip("~")
    return f"`{re.sub(r'^(_[a-z]+)?[.](?=[A-Za-z_])', '', text)}`"


def _with_unique_ids(found: list[Function]) -> list[Function]:
    seen: Counter[str] = Counter()
    unique = []
    for function in found:
        seen[function.id] += 1
        number = seen[function.id]
        if number > 1:
            function = replace(function, id=f"{function.id}#{number}")
        unique.append(function)
    return sorted(unique, key=lambda function: function.id)
