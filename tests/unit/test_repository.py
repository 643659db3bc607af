# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's laws about its own files, made executable."""

from __future__ import annotations

import ast
import fnmatch
import ipaddress
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for path in ROOT.glob("plugins/modules/*.py"))
UTILITIES = sorted(path for path in ROOT.glob("plugins/module_utils/_*.py") if path.stem != "__init__")
PLUGIN_UTILITIES = sorted(ROOT.glob("plugins/plugin_utils/_*.py"))
ROLES = sorted(path.parent for path in ROOT.glob("roles/*/meta"))

#: Where Ansible finds the collection.
COLLECTION = "ansible_collections.l4lb.ipvs."

#: What each utility of the core may import of the collection: the layers below it.
LAYERS = {
    "_errors": set(),
    "_files": set(),
    "_hints": {"_errors"},
    "_values": {"_errors", "_hints"},
    "_kernel": {"_errors", "_files"},
    "_module": {"_errors", "_files"},
    "_model": {"_errors", "_hints", "_values"},
    "_argspec": {"_errors", "_values", "_model"},
    "_text": {"_errors", "_values", "_model"},
    "_plan": {"_errors", "_values", "_model", "_text"},
    "_wire": {"_errors", "_values", "_model"},
    "_encode": {"_errors", "_values", "_model", "_wire"},
    "_statistics": {"_errors", "_values", "_model", "_wire"},
    "_client": {"_errors", "_values", "_model", "_wire", "_statistics"},
    "_apply": {"_errors", "_values", "_model", "_plan", "_wire", "_encode"},
    "_policy": {"_errors", "_values", "_model", "_plan"},
    "_ownership": {"_errors", "_files", "_module", "_model", "_plan", "_apply", "_policy"},
    "_ipvsadm": {"_errors", "_model", "_plan", "_values"},
    "_source": {"_errors", "_files", "_values", "_ipvsadm"},
    "_tablespec": {"_errors", "_values", "_module", "_model", "_argspec", "_policy", "_source"},
    "_change": {"_errors", "_kernel", "_module", "_model", "_text", "_plan", "_client", "_apply", "_ownership"},
    "_converge": {"_errors", "_module", "_model", "_plan", "_client", "_ownership", "_change"},
}
#: What of the core every other utility may import: each serves a purpose of its own, beside the IPVS table.
COMMON = {"_errors", "_files", "_values", "_kernel", "_module", "_model", "_text"}

DOCUMENTATION_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),  # RFC 5737, RFC 3849
        *(
            "0.0.0.0/8",
            "127.0.0.0/8",
            "255.255.255.255/32",
            "::/127",
        ),  # words of the language: any, loopback, broadcast
        *("224.0.0.0/4", "ff00::/8", "fe80::/10"),  # multicast and link-local ranges have no documentation prefix
    )
]
NETMASKS = {str(ipaddress.ip_network(f"0.0.0.0/{length}").netmask) for length in range(33)}
ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w)|(?<![\w.:])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])"
)

#: Shell and ruleset flushes, which nothing that reaches a node may contain.
FORBIDDEN = re.compile(r"shell=True|os\.system\(|os\.popen\(|\bflush ruleset\b|ansible\.builtin\.shell\b")


def tracked_files() -> list[Path]:
    """What git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = (ROOT / name for name in listing.stdout.split("\0") if name)
    return sorted(path for path in files if path.is_file() and not path.is_symlink())


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imported(path: Path) -> set[str]:
    """Absolute names of everything a file imports, at its top or inside a function; relative ones begin with a dot."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            separator = "" if package.endswith(".") else "."
            found.add(package)
            found.update(f"{package}{separator}{alias.name}" for alias in node.names)
    return found


def own_imports(path: Path) -> set[str]:
    """The collection's private utilities that a file imports."""
    own = {name for name in imported(path) if name.startswith((".", COLLECTION))}
    words = {part for name in own for part in name.split(".")}
    return words & {utility.stem for utility in UTILITIES}


class OnceLoader(yaml.SafeLoader):
    """As Ansible loads YAML where duplicate keys are errors: one that is merged (<<) counts as well."""


def once(loader: OnceLoader, node: yaml.MappingNode) -> dict[str, None]:
    loader.flatten_mapping(node)
    keys = [str(loader.construct_object(key, deep=True)) for key, dummy in node.value]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"given twice: {twice[0]}", node.start_mark)
    for dummy, value in node.value:
        loader.construct_object(value, deep=True)
    return dict.fromkeys(keys)


OnceLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, once)
OnceLoader.add_multi_constructor("!", lambda dummy, suffix, node: suffix)  # !vault, !unsafe


def duplicates(text: str) -> list[str]:
    try:
        list(yaml.load_all(text, OnceLoader))
    except yaml.constructor.ConstructorError as error:
        return [str(error)]
    return []


def text_constant(path: Path, name: str) -> str:
    """The string assigned to *name*, at the top of a file or in a class; empty if there is none."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return str(ast.literal_eval(node.value))
    return ""


# The collection's metadata


def test_action_group_names_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert sorted(runtime["action_groups"]["ipvs"]) == [path.stem for path in MODULES]


def test_supported_core_is_the_one_promised() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert runtime["requires_ansible"] == ">=2.18.0"


def test_galaxy_tags_hold_a_required_one() -> None:
    required = {
        "application",
        "cloud",
        "database",
        "eda",
        "infrastructure",
        "linux",
        "monitoring",
        "networking",
        "security",
    }
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert required & set(galaxy["tags"])
    assert len(galaxy["tags"]) <= 20


# Modules


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_is_documented(path: Path) -> None:
    documentation = yaml.safe_load(text_constant(path, "DOCUMENTATION"))
    assert documentation["module"] == path.stem
    assert yaml.safe_load(text_constant(path, "EXAMPLES"))
    assert yaml.safe_load(text_constant(path, "RETURN"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_has_unit_tests(path: Path) -> None:
    assert list(ROOT.glob(f"tests/unit/**/test_{path.stem}.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_has_an_integration_target(path: Path) -> None:
    assert (ROOT / "tests" / "integration" / "targets" / path.stem / "tasks" / "main.yml").exists()


# Layers


@pytest.mark.parametrize("path", UTILITIES, ids=lambda path: path.stem)
def test_utility_imports_only_the_layers_below(path: Path) -> None:
    imports = own_imports(path)
    assert imports & LAYERS.keys() <= LAYERS.get(path.stem, COMMON)
    assert path.stem not in LAYERS or imports <= LAYERS.keys()


@pytest.mark.parametrize("path", UTILITIES, ids=lambda path: path.stem)
def test_files_of_a_node_are_read_in_one_way(path: Path) -> None:
    """By ``_files``, which knows what must not be opened; others may open what they write, and directories."""
    reading = re.compile(r"((os|io)\.)?(fd)?open\((?!.*('[wax]'|O_WRONLY|O_RDWR|O_DIRECTORY))|.*\.read_(text|bytes)\(")
    calls = [ast.unparse(node) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert path.stem == "_files" or [one for one in calls if reading.match(one)] == []


@pytest.mark.parametrize(
    "path", [*UTILITIES, *PLUGIN_UTILITIES, *ROOT.glob("plugins/filter/*.py")], ids=lambda path: path.stem
)
def test_only_module_knows_ansible_module(path: Path) -> None:
    knows = any(name.startswith("ansible.module_utils.basic") for name in imported(path))
    assert knows == (path.stem == "_module")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_goes_through_the_shared_edge(path: Path) -> None:
    assert "_module" in own_imports(path)
    assert not any(name.startswith("ansible.module_utils.basic") for name in imported(path))


@pytest.mark.parametrize("path", [*UTILITIES, *MODULES], ids=lambda path: path.stem)
def test_modules_import_by_the_full_name_and_utilities_relatively(path: Path) -> None:
    """Mitogen runs a module file as a program without a package, and finds by full names what it imports."""
    unwanted = "." if path in MODULES else COLLECTION
    assert [name for name in imported(path) if name.startswith(unwanted)] == []


@pytest.mark.parametrize("path", [*UTILITIES, *MODULES], ids=lambda path: path.stem)
def test_only_client_opens_netlink_sockets(path: Path) -> None:
    assert path.stem == "_client" or "AF_NETLINK" not in path.read_text()


def test_pyroute2_serves_rtnetlink_alone() -> None:
    users = {path.stem for path in [*UTILITIES, *MODULES] if any(n.split(".")[0] == "pyroute2" for n in imported(path))}
    assert users <= {"_rtnl"}


@pytest.mark.parametrize("path", [*UTILITIES, *PLUGIN_UTILITIES], ids=lambda path: path.stem)
def test_utility_says_it_is_private(path: Path) -> None:
    assert "private to the collection" in "".join(path.read_text().splitlines(keepends=True)[:6])


# Roles


def called(role: str, *files: str) -> list[str]:
    """The collection's modules that these files of tasks call, in their order."""
    tasks = [task for file in files for task in yaml.safe_load((ROOT / f"roles/{role}/tasks/{file}.yml").read_text())]
    return [name for task in tasks for name in task if name.startswith("l4lb.ipvs.")]


@pytest.mark.parametrize("removal", ["absent", "stale"])
def test_a_backend_loses_things_in_the_reverse_order(removal: str) -> None:
    made = [name for name in called("ipvs_backend", "configure", "run") if name != "l4lb.ipvs.ipvs_host_info"]
    assert called("ipvs_backend", removal) == made[::-1]


def test_a_backend_is_quiet_before_it_has_a_vip() -> None:
    made = called("ipvs_backend", "configure", "run")
    assert (
        made.index("l4lb.ipvs.ipvs_sysctl")
        < made.index("l4lb.ipvs.ipvs_vip")
        < made.index("l4lb.ipvs.ipvs_policy_route")
    )


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_defaults_equal_its_argument_specs(role: Path) -> None:
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    options = specs["main"]["options"]
    optional = {name for name, spec in options.items() if not spec.get("required")}
    assert set(defaults) == optional
    assert {name: spec["default"] for name, spec in options.items() if "default" in spec} == {
        name: defaults[name] for name, spec in options.items() if "default" in spec
    }


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_role_variables_carry_its_name(role: Path) -> None:
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
    assert all(name.startswith(f"{role.name}_") for name in defaults)


# Every file


# REUSE-IgnoreStart: what is looked for here is no licence of this file


def reuse_annotations() -> list[str]:
    """Patterns of the files whose licence stands in REUSE.toml."""
    table = tomllib.loads((ROOT / "REUSE.toml").read_text())
    licensed = [annotation for annotation in table["annotations"] if "SPDX-License-Identifier" in annotation]
    return [pattern for annotation in licensed for pattern in annotation["path"]]


def test_every_file_states_its_licence() -> None:
    patterns = reuse_annotations()
    silent = [
        name
        for name, path in ((str(path.relative_to(ROOT)), path) for path in tracked_files())
        if not name.startswith("LICENSES/")
        and "SPDX-License-Identifier:" not in path.read_text(errors="replace")[:2000]
        and not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]
    assert silent == []


def test_every_licence_used_has_its_text() -> None:
    used = {
        match
        for path in tracked_files()
        for match in re.findall(r"^[^\w]*SPDX-License-Identifier: ([\w.-]+)$", path.read_text(errors="replace"), re.M)
    }
    assert used == {path.stem for path in (ROOT / "LICENSES").glob("*.txt")}


# REUSE-IgnoreEnd


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "- {a: {b: 1, 'b': 2}}", "a: &x {b: 1}\nc: {<<: *x, b: 2}", "---\n---\n{a: 1, a: 1}"]
)
def test_a_duplicate_key_is_found(text: str) -> None:
    assert duplicates(text) != []


def test_no_yaml_gives_a_key_twice() -> None:
    """Ansible warns of it in each run, or stops (DUPLICATE_YAML_DICT_KEY)."""
    texts = {
        str(path.relative_to(ROOT)): path.read_text() for path in tracked_files() if path.suffix in (".yml", ".yaml")
    }
    constants = [
        (f"{path.relative_to(ROOT)} {name}", text_constant(path, name))
        for path in [*MODULES, *ROOT.glob("plugins/filter/*.py"), *ROOT.glob("plugins/doc_fragments/*.py")]
        for name in ("DOCUMENTATION", "EXAMPLES", "RETURN")
    ]
    found = {name: duplicates(text) for name, text in [*texts.items(), *constants]}
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_shipped_code_uses_no_shell_and_flushes_no_ruleset() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("plugins", "roles", "playbooks")
        for path in tracked_files()
        if path.is_relative_to(ROOT / folder) and path.suffix != ".md"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if FORBIDDEN.search(line) and not line.lstrip().startswith("#")
    ]
    assert found == []


def documents() -> list[tuple[str, str]]:
    """Name and text of everything a user reads: pages, READMEs, the examples, and the documentation inside plugins."""
    pages = [
        (str(path.relative_to(ROOT)), path.read_text())
        for path in tracked_files()
        if path.suffix in {".md", ".rst"} or path.is_relative_to(ROOT / "examples")
    ]
    plugins = [
        (f"{path.relative_to(ROOT)} {name}", text_constant(path, name))
        for path in [*MODULES, *ROOT.glob("plugins/filter/*.py"), *ROOT.glob("plugins/doc_fragments/*.py")]
        for name in ("DOCUMENTATION", "EXAMPLES", "RETURN")
    ]
    return pages + plugins


def real_addresses(text: str) -> list[str]:
    """Addresses in *text* that belong to somebody."""
    found = []
    for match in ADDRESS.finditer(text):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue  # a time, a MAC address, a version
        if match[0] not in NETMASKS and not any(address in network for network in DOCUMENTATION_NETWORKS):
            found.append(match[0])
    return found


def test_documents_use_documentation_addresses() -> None:
    found = [f"{name}: {address}" for name, text in documents() for address in real_addresses(text)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ping 192.0.2.10 then 10.0.0.1:80", ["10.0.0.1"]),
        ("[2001:db8::1]:80 and [2606:4700::1]:443", ["2606:4700::1"]),
        ("at 12:30:59, version 1.2.3.4.5, kernel 6.1, l4lb.ipvs::x", []),
        ("mask 255.255.255.0, not 255.255.255.1.", ["255.255.255.1"]),
        ("MAC 52:54:00:12:34:56 and fe80::1", []),
    ],
)
def test_real_addresses_are_told_from_others(text: str, expected: list[str]) -> None:
    assert real_addresses(text) == expected


FAULTS = yaml.safe_load((ROOT / "tests" / "plant" / "faults.yml").read_text())["faults"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault["name"]))
def test_a_fault_to_plant_finds_its_place(fault: dict[str, str]) -> None:
    """Which takes minutes to find out by planting it."""
    assert (ROOT / fault["file"]).read_text().count(fault["old"]) == 1
