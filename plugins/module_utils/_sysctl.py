# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Kernel parameters of directors and backends: which there are, what they may be, what the next boot makes of them.
Keys are in the form of ``_sysctl_files``.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from . import _kernel
from ._errors import BadValue, Findings, Forbidden, IpvsError, KernelRefused
from ._files import read
from ._module import Task
from ._sysctl_files import (
    SYSCTL_DIRS,
    aliases,
    assignment,
    boot_options,
    boot_value,
    content,
    dotted,
    dropins,
    in_order,
    proc_path,
)
from ._values import Parser, integer, interface, text

Value = Union[int, str]

INT_MAX = 2147483647
#: Seconds that the kernel holds in jiffies of 1 ms at most (proc_dointvec_jiffies).
SECONDS_MAX = INT_MAX // 1000
CPU_MAX = 8191
#: Characters: a write to /proc/sys of more than a page is refused.
CPULIST_MAX = 4095
MAX_KEYS = 1000

HEADER = "# Written by the Ansible module l4lb.ipvs.ipvs_sysctl, which replaces this file as a whole.\n"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", re.ASCII)
_CPUS = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?\Z", re.ASCII)

#: What is under /proc/sys once the kernel module is loaded.
_WITNESS = {
    "ip_vs": "net/ipv4/vs",
    "ip_vs_lblc": "net/ipv4/vs/lblc_expiration",
    "ip_vs_lblcr": "net/ipv4/vs/lblcr_expiration",
    "nf_conntrack": "net/netfilter/nf_conntrack_max",
}

#: The devices that receive an IPVS tunnel where no other device claims it.
_TUNNEL_DEVICES = ("tunl0", "gre0", "ip6tnl0")


def numbers(*allowed: int) -> Parser:
    """One of the integers ``allowed``, which are in rising order."""
    within = integer(allowed[0], allowed[-1])

    def parse(value: object) -> int:
        number: int = within(value)
        if number not in allowed:
            raise BadValue(f"must be one of {', '.join(map(str, allowed))}")
        return number

    return parse


def threshold(value: object) -> str:
    """Two integers "a b" with 0 <= a < b, or b = 0 (proc_do_sync_threshold). The kernel reads back a TAB."""
    rule = "must be two integers, the first less than the second, or the second 0"
    if not isinstance(value, str):
        raise BadValue(rule)
    words = text(value.replace("\t", " ")).split()
    if len(words) != 2:
        raise BadValue(rule)
    first, second = (integer(0, INT_MAX)(word) for word in words)
    if second and first >= second:
        raise BadValue(rule)
    return f"{first} {second}"


def cpulist(value: object) -> str:
    """A list of processors such as "0-3,8" -> the kernel's own spelling of it; "" is no processor."""
    cpus: set[int] = set()
    if isinstance(value, str) and len(value) > CPULIST_MAX:
        raise BadValue(f"must have at most {CPULIST_MAX} characters")
    for word in text(value).split(",") if value != "" else ():
        match = _CPUS.match(word)
        if not match or int(match[1]) > int(match[2] or match[1]) or int(match[2] or match[1]) > CPU_MAX:
            raise BadValue(f"must be a list of processors 0..{CPU_MAX} such as 0-3,8")
        cpus.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


class Rule(NamedTuple):
    """What one key may hold."""

    parse: Parser
    #: The kernel module that brings the key; empty where it is always there.
    module: str = ""
    #: Values among which the kernel moves by itself.
    equal: frozenset[str] = frozenset()
    #: What the kernel does with conf.all: "larger": the larger of all's and the device's value counts (IN_DEV_MAXCONF,
    #: IN_DEV_ORCONF); "ignored": only the device's counts.
    with_all: str = ""


_SWITCH = integer(0, 1)
_COUNT = integer(0, INT_MAX)
_SECONDS = integer(0, SECONDS_MAX)
#: 1 becomes 2 when memory runs short and 1 again when it does not (ip_vs_ctl.c, update_defense_level).
_DEFENSE = Rule(integer(0, 3), "ip_vs", frozenset(("1", "2")))

#: Every key this module sets, "*" being an interface. The ranges are those of ipvs-sysctl.rst, ip-sysctl.rst and
#: nf_conntrack-sysctl.rst of the kernel's Documentation/networking; the kernel itself checks few of them.
KEYS: dict[str, Rule] = {
    "net.ipv4.ip_forward": Rule(_SWITCH),
    "net.ipv4.conf.*.forwarding": Rule(_SWITCH),
    "net.ipv4.conf.*.send_redirects": Rule(_SWITCH, with_all="larger"),
    "net.ipv4.conf.*.accept_redirects": Rule(_SWITCH),
    "net.ipv4.conf.*.secure_redirects": Rule(_SWITCH, with_all="larger"),
    "net.ipv4.conf.*.arp_ignore": Rule(numbers(0, 1, 2, 3, 8), with_all="larger"),
    "net.ipv4.conf.*.arp_announce": Rule(integer(0, 2), with_all="larger"),
    "net.ipv4.conf.*.arp_filter": Rule(_SWITCH, with_all="larger"),
    "net.ipv4.conf.*.accept_local": Rule(_SWITCH, with_all="larger"),
    "net.ipv4.conf.*.rp_filter": Rule(integer(0, 2), with_all="larger"),
    "net.ipv4.conf.*.src_valid_mark": Rule(_SWITCH, with_all="larger"),
    "net.ipv6.conf.*.forwarding": Rule(_SWITCH),
    "net.ipv6.conf.*.accept_ra": Rule(integer(0, 2), with_all="ignored"),
    "net.ipv6.conf.*.accept_redirects": Rule(_SWITCH, with_all="ignored"),
    "net.netfilter.nf_conntrack_max": Rule(_COUNT, "nf_conntrack"),
    "net.netfilter.nf_conntrack_tcp_be_liberal": Rule(_SWITCH, "nf_conntrack"),
    "net.netfilter.nf_conntrack_tcp_loose": Rule(_SWITCH, "nf_conntrack"),
    "net.netfilter.nf_conntrack_tcp_timeout_established": Rule(_SECONDS, "nf_conntrack"),
    "net.netfilter.nf_conntrack_udp_timeout": Rule(_SECONDS, "nf_conntrack"),
    "net.netfilter.nf_conntrack_udp_timeout_stream": Rule(_SECONDS, "nf_conntrack"),
    "net.ipv4.vs.am_droprate": Rule(_COUNT, "ip_vs"),
    "net.ipv4.vs.amemthresh": Rule(_COUNT, "ip_vs"),
    "net.ipv4.vs.backup_only": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.cache_bypass": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.conn_lfactor": Rule(integer(-8, 8), "ip_vs"),
    "net.ipv4.vs.conn_max": Rule(integer(0, 2**30), "ip_vs"),
    "net.ipv4.vs.conn_reuse_mode": Rule(integer(0, 3), "ip_vs"),
    "net.ipv4.vs.conntrack": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.debug_level": Rule(integer(0, 12), "ip_vs"),
    "net.ipv4.vs.drop_entry": _DEFENSE,
    "net.ipv4.vs.drop_packet": _DEFENSE,
    "net.ipv4.vs.est_cpulist": Rule(cpulist, "ip_vs"),
    "net.ipv4.vs.est_nice": Rule(integer(-20, 19), "ip_vs"),
    "net.ipv4.vs.expire_nodest_conn": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.expire_quiescent_template": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.ignore_tunneled": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.lblc_expiration": Rule(_SECONDS, "ip_vs_lblc"),
    "net.ipv4.vs.lblcr_expiration": Rule(_SECONDS, "ip_vs_lblcr"),
    "net.ipv4.vs.nat_icmp_send": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.pmtu_disc": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.run_estimation": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.schedule_icmp": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.secure_tcp": _DEFENSE,
    "net.ipv4.vs.sloppy_sctp": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.sloppy_tcp": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.snat_reroute": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.svc_lfactor": Rule(integer(-8, 8), "ip_vs"),
    "net.ipv4.vs.sync_persist_mode": Rule(_SWITCH, "ip_vs"),
    "net.ipv4.vs.sync_ports": Rule(numbers(1, 2, 4, 8, 16, 32, 64), "ip_vs"),
    "net.ipv4.vs.sync_qlen_max": Rule(_COUNT, "ip_vs"),
    "net.ipv4.vs.sync_refresh_period": Rule(_SECONDS, "ip_vs"),
    "net.ipv4.vs.sync_retries": Rule(integer(0, 3), "ip_vs"),
    "net.ipv4.vs.sync_sock_size": Rule(_COUNT, "ip_vs"),
    "net.ipv4.vs.sync_threshold": Rule(threshold, "ip_vs"),
    "net.ipv4.vs.sync_version": Rule(_SWITCH, "ip_vs"),
}


def split_interface(path: str) -> tuple[str, Optional[str]]:
    """A path -> (its entry in :data:`KEYS`, should it have one; the interface in it)."""
    parts = path.split("/")
    if len(parts) == 5 and parts[2] == "conf":
        return ".".join((*parts[:3], "*", parts[4])), parts[3]
    return ".".join(parts), None


class Setting(NamedTuple):
    """One key and the value wanted for it."""

    path: str
    value: Value
    rule: Rule
    interface: Optional[str]

    @property
    def name(self) -> str:
        """The key as sysctl.d(5) writes it."""
        return dotted(self.path)

    @property
    def line(self) -> str:
        """The assignment as sysctl.d(5) writes it."""
        return show(self.path, str(self.value))

    def holds(self, found: Optional[str]) -> bool:
        """Whether ``found``, as the kernel or a file has it, is the value wanted. Blanks make no difference."""
        if found is None:
            return False
        words = _plain(found)
        return words == str(self.value) or {words, str(self.value)} <= self.rule.equal


def _plain(value: str) -> str:
    return " ".join(value.split())


def show(path: str, value: str) -> str:
    """One assignment, as a line of sysctl.d(5) without its end."""
    return f"{dotted(path)} = {_plain(value)}".rstrip()


def parse_settings(values: object, findings: Findings, option: str = "values") -> list[Setting]:
    """The ``option`` with keys and values -> settings in the order in which they are written; every problem goes to
    ``findings``.
    """
    if not isinstance(values, Mapping):
        findings.problem(option, "must be a dict of keys and values", values)
        return []
    if len(values) > MAX_KEYS:
        findings.problem(option, f"must have at most {MAX_KEYS} keys (has {len(values)})")
        return []
    settings: dict[str, Setting] = {}
    for written, value in values.items():
        setting = _parse_setting(written, value, findings, option)
        if setting is None:
            continue
        variable = aliases(setting.path)[0]
        if variable in settings:
            rule = f"duplicate: sets the same variable as {settings[variable].name}"
            findings.problem(f"{option}[{setting.name}]", rule)
        settings[variable] = setting
    _check_tunnels(settings, findings, option)
    return sorted(settings.values(), key=_write_order)


def _parse_setting(written: object, value: object, findings: Findings, option: str) -> Optional[Setting]:
    try:
        path = proc_path(text(written))
    except BadValue as error:
        findings.problem(option, f"key {error}", written)
        return None
    pattern, device = split_interface(path)
    if pattern not in KEYS:
        findings.problem(option, f"unknown key; {_hint(path)}", written)
        return None
    try:
        if device is not None:
            interface(device)
    except BadValue as error:
        findings.problem(option, f"the interface of the key {error}", written)
        return None
    rule = KEYS[pattern]
    try:
        if value is None:
            raise BadValue("must not be empty")
        return Setting(path, rule.parse(value), rule, device)
    except BadValue as error:
        findings.problem(f"{option}[{dotted(path)}]", str(error), value)
    return None


def _hint(path: str) -> str:
    parts = path.split("/")
    if len(parts) > 5 and parts[2] == "conf":
        undotted = "/".join((*parts[:3], ".".join(parts[3:-1]), parts[-1]))
        if split_interface(undotted)[0] in KEYS:
            return f"write the dots of an interface as slashes: {dotted(undotted)}"
    pattern, device = split_interface(path)
    near = difflib.get_close_matches(pattern, KEYS, 1, 0.8)
    if near:
        return f"did you mean {dotted(proc_path(near[0]).replace('*', device or '*'))}?"
    return "this module sets only the keys of a director or a backend that its documentation lists"


def _check_tunnels(settings: Mapping[str, Setting], findings: Findings, option: str) -> None:
    for device in _TUNNEL_DEVICES:
        own = settings.get(f"net/ipv4/conf/{device}/rp_filter")
        everywhere = settings.get("net/ipv4/conf/all/rp_filter")
        if own and 1 in (own.value, everywhere and max(int(own.value), int(everywhere.value))):
            rule = "the larger of this and all's must be 0, or 2 with the VIP on the device: 1 drops tunnelled traffic"
            findings.problem(f"{option}[{own.name}]", rule, own.value)


_FIRST = (("/accept_ra",), ("/ip_forward", "/forwarding"))


def _write_order(setting: Setting) -> tuple[int, int, str]:
    """accept_ra before forwarding, which removes the default routes of devices that have not 2 there (route.c,
    rt6_purge_dflt_routers); then forwarding, conf.all, conf.default, devices: each of these resets what comes after it
    (devinet.c).
    """
    rank = next((rank for rank, names in enumerate(_FIRST) if setting.path.endswith(names)), len(_FIRST))
    return rank, {None: 0, "all": 0, "default": 1}.get(setting.interface, 2), setting.path


def parse_name(value: object, findings: Findings) -> str:
    """The option ``name`` -> the path of the drop-in, without the leading slash."""
    try:
        name = text(value)
        if not _NAME.match(name):
            raise BadValue("must be 1..64 letters, digits, '_' or '-', beginning with a letter or digit")
    except BadValue as error:
        findings.problem("name", str(error), value)
        return ""
    return f"{SYSCTL_DIRS[0]}/99-zz-{name}.conf"


def render(settings: Iterable[Setting]) -> str:
    """The drop-in that makes ``settings`` survive a reboot."""
    return HEADER + "".join(f"{setting.line}\n" for setting in settings)


def without(content: str, paths: Iterable[str]) -> Optional[str]:
    """``content`` of a drop-in without the lines for ``paths``; ``None`` if no assignment is left."""
    gone = frozenset(paths)
    kept = [(line, assignment(line)) for line in content.splitlines(keepends=True)]
    kept = [(line, told) for line, told in kept if not told or told[0] not in gone]
    return "".join(line for line, dummy in kept) if any(told for dummy, told in kept) else None


class Dropin(NamedTuple):
    """The file of one task: where it is, what it holds (``None``: it does not exist), what it shall hold."""

    path: str
    before: Optional[str]
    after: Optional[str]

    @property
    def diff(self) -> dict[str, str]:
        header = f"/{self.path}"
        return {
            "before_header": header,
            "after_header": header,
            "before": self.before or "",
            "after": self.after or "",
        }


class Plan(NamedTuple):
    """What a run changes: running values and, outside a named network namespace, the drop-in."""

    settings: Sequence[Setting]
    live: Mapping[str, Optional[str]]
    dropin: Optional[Dropin]

    @property
    def changed(self) -> bool:
        running = any(not setting.holds(self.live[setting.path]) for setting in self.settings)
        return running or bool(self.dropin and self.dropin.before != self.dropin.after)

    @property
    def diff(self) -> list[dict[str, str]]:
        before, after = [], []
        for setting in self.settings:
            found = self.live[setting.path]
            before += [] if found is None else [show(setting.path, found)]
            after.append(show(setting.path, found) if found is not None and setting.holds(found) else setting.line)
        header = "running values"
        running = {
            "before_header": header,
            "after_header": header,
            "before": "".join(f"{line}\n" for line in before),
            "after": "".join(f"{line}\n" for line in after),
        }
        return [running, *([self.dropin.diff] if self.dropin else [])]


#: What keeps root from replacing one file of a directory that can be written.
_HINTS = {
    errno.EPERM: " (is it immutable? see lsattr)",
    errno.EBUSY: " (is another file mounted on it?)",
}


class Host:
    """The files of this host: ``/proc/sys``, in the network namespace of this process, and the sysctl.d directories."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def _proc(self, path: str) -> str:
        return os.path.join(self.root, "proc/sys", path)

    def has(self, path: str) -> bool:
        """Whether there is such a key, or directory of keys."""
        return os.path.exists(self._proc(path))

    def read(self, path: str) -> Optional[str]:
        """The running value; ``None`` if this kernel has no such key."""
        try:
            return read(self._proc(path), errors="replace").rstrip("\n")
        except FileNotFoundError:
            return None

    def write(self, path: str, value: str) -> None:
        """Set the running value, in one write. :raises OSError: the kernel refuses."""
        descriptor = os.open(self._proc(path), os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{value}\n".encode("ascii"))
        finally:
            os.close(descriptor)

    def own(self, path: str) -> Optional[str]:
        """What the drop-in holds. :raises IpvsError: a symbolic link, a directory or the like is in its place."""
        full = os.path.join(self.root, path)
        if os.path.lexists(full) and not stat.S_ISREG(os.lstat(full).st_mode):
            raise IpvsError(f"/{path}: must be a plain file, or none; remove it, or give the drop-in another name")
        return content(self.root, path)

    @contextlib.contextmanager
    def replacing(self, dropin: Dropin) -> Iterator[None]:
        """Run the block with the drop-in in its place, on disk; if it fails, what was there before is put back.

        So a file that cannot be written or replaced is found before the kernel is changed; a kernel that refuses leaves
        the old file.

        :raises IpvsError: the file cannot be written.
        """
        self._put(dropin.path, dropin.after)
        try:
            yield
        except BaseException:
            with contextlib.suppress(IpvsError):
                self._put(dropin.path, dropin.before)
            raise

    def _put(self, path: str, held: Optional[str]) -> None:
        """Replace the file, whole or not at all, or remove it (``None``). :raises IpvsError: it cannot be done."""
        full = os.path.join(self.root, path)
        directory, name = os.path.split(full)
        draft = os.path.join(directory, f".{name}.new")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            if held is None:
                os.unlink(full)
            else:
                os.makedirs(directory, mode=0o755, exist_ok=True)
                descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                    os.fchmod(file.fileno(), 0o644)
                    file.write(held)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, full)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno == errno.EACCES or (error.errno == errno.EPERM and os.geteuid() != 0):
                raise Forbidden(f"/{path}: may not be written; run the task with become") from None
            hint = _HINTS.get(error.errno or 0, "")
            raise IpvsError(f"/{path}: cannot be written: {error.strerror}{hint}") from None
        finally:
            with contextlib.suppress(OSError):
                os.unlink(draft)


def examine(plan: Plan, host: Host, check_mode: bool, prepared: Collection[str] = ()) -> Findings:
    """What only the live host tells: keys this kernel lacks, values the next boot undoes, values without effect.
    ``prepared`` are the interfaces and kernel modules that earlier tasks of a run in check mode would make and load.
    """
    findings = Findings()
    for setting in plan.settings:
        if plan.live[setting.path] is None:
            _explain_missing(setting, host, check_mode, prepared, findings)
        _explain_all(setting, plan, host, findings)
    if plan.dropin:
        _explain_boot(plan.settings, plan.dropin, host, findings)
    return findings


def _explain_missing(
    setting: Setting, host: Host, check_mode: bool, prepared: Collection[str], findings: Findings
) -> None:
    module = setting.rule.module
    directory = os.path.dirname(setting.path)
    to_come = False
    if module and not host.has(_WITNESS[module]):
        to_come = _kernel.module_known(module)
        rule = f"needs the kernel module {module}, which " + (
            f"is not loaded: modprobe {module}" if to_come else "this host does not have"
        )
    elif setting.interface and not host.has(directory) and host.has(os.path.dirname(directory)):
        to_come = True
        rule = f"no such interface: {setting.interface}"
    else:
        rule = "this kernel has no such key"
    if to_come and {module, setting.interface} & {*prepared}:
        return
    if to_come and check_mode:
        findings.warning(f"values[{setting.name}]", f"{rule}; planned as if it were there")
    else:
        findings.problem(f"values[{setting.name}]", rule)


def _explain_all(setting: Setting, plan: Plan, host: Host, findings: Findings) -> None:
    if setting.interface == "all" and setting.rule.with_all == "ignored":
        rule = "has no effect: the kernel looks only at each interface's own value (and at default for new interfaces)"
        findings.warning(f"values[{setting.name}]", rule, setting.value)
    if setting.rule.with_all != "larger" or setting.interface in ("all", "default"):
        return
    parts = setting.path.split("/")
    path = "/".join((*parts[:3], "all", parts[4]))
    wanted = next((str(other.value) for other in plan.settings if other.path == path), None)
    everywhere = wanted or host.read(path)
    if everywhere is not None and int(everywhere) > int(setting.value):
        rule = f"has no effect while {dotted(path)} is {everywhere}: the kernel takes the larger"
        findings.warning(f"values[{setting.name}]", rule, setting.value)


def _explain_boot(settings: Sequence[Setting], dropin: Dropin, host: Host, findings: Findings) -> None:
    options = boot_options(in_order({**dropins(host.root), dropin.path: dropin.after or ""}))
    legacy = boot_options([("etc/sysctl.conf", content(host.root, "etc/sysctl.conf") or "")])
    for setting in settings:
        path = f"values[{setting.name}]"
        value, source = boot_value(options, setting.path) or (None, dropin.path)
        if not setting.holds(value):
            undone = "would not be set at boot" if value is None else f"would be {value} after the next boot"
            remedy = "change it there, or give that file a name that sorts earlier"
            findings.problem(path, f"{undone}: /{source} overrides /{dropin.path}; {remedy}", setting.value)
        later = boot_value(legacy, setting.path)
        if later and later[0] is not None and not setting.holds(later[0]):
            rule = f"'sysctl --system' would set it to {later[0]}: it reads /etc/sysctl.conf last; change it there"
            findings.warning(path, rule, setting.value)


def apply(settings: Sequence[Setting], host: Host) -> None:
    """Write what differs, in order, then read everything back.

    Each value is read again just before its turn, because the writes before it may have reset it.

    :raises KernelRefused: a write failed; ``applied`` lists the keys written before it.
    :raises IpvsError: the kernel took a write but does not hold the value.
    """
    applied: list[str] = []
    for setting in settings:
        if setting.holds(host.read(setting.path)):
            continue
        try:
            host.write(setting.path, str(setting.value))
        except OSError as error:
            message = f"{setting.name}: the kernel refused {str(setting.value)!r}: {error.strerror}"
            raise KernelRefused(message, error.errno or 0, changed=bool(applied), applied=applied) from None
        applied.append(setting.name)
    found = [(setting, host.read(setting.path)) for setting in settings]
    wrong = [
        f"{setting.name}: wanted {setting.value}, found {'no such key' if value is None else _plain(value)}"
        for setting, value in found
        if not setting.holds(value)
    ]
    if wrong:
        raise IpvsError(
            f"the kernel does not hold what was written: {'; '.join(wrong)}", changed=bool(applied), applied=applied
        )


def body(task: Task, host: Optional[Host] = None) -> dict[str, Any]:
    """The module ipvs_sysctl: ``values`` become the running ones and the content of the drop-in."""
    host = host or Host()
    params = task.params
    present, netns, values = params["state"] == "present", params["netns"], params["values"]
    findings = Findings()
    path = parse_name(params["name"], findings)
    settings = [] if values is None else parse_settings(values, findings)
    if present and not values:
        findings.problem("values", "must not be empty; state: absent removes the drop-in")
    if netns is not None and not present:
        findings.problem("state", "must be present with netns, where there is no drop-in to remove", params["state"])
    task.conclude(findings)
    if not present:
        return _remove(task, host, path, None if values is None else [setting.path for setting in settings])
    dropin = None if netns is not None else Dropin(path, host.own(path), render(settings))
    plan = Plan(settings, {setting.path: host.read(setting.path) for setting in settings}, dropin)
    task.conclude(examine(plan, host, task.check_mode, task.prepared))
    if plan.changed and not task.check_mode:
        rewritten = dropin and dropin.before != dropin.after
        with host.replacing(dropin) if dropin and rewritten else contextlib.nullcontext():
            apply(settings, host)
    return {
        "changed": plan.changed,
        "diff": plan.diff,
        "values": {setting.name: setting.value for setting in settings},
        "file": f"/{path}" if dropin else None,
    }


def _remove(task: Task, host: Host, path: str, keys: Optional[Sequence[str]]) -> dict[str, Any]:
    before = host.own(path)
    after = None if before is None or keys is None else without(before, keys)
    dropin = Dropin(path, before, after)
    changed = before != after
    if changed and not task.check_mode:
        with host.replacing(dropin):
            pass
    return {"changed": changed, "diff": [dropin.diff], "file": f"/{path}"}
