# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the disk image, kernel and initial ram disk that every node boots from, once per recipe.

Debian packages by mmdebstrap, plus one tar archive with the lab's own files, into a sparse ext4 file by ``mke2fs -d``:
nothing is mounted, and root is not needed.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .common import LabError, cache_directory, locked

SUITE = "bookworm"
DISK_SIZE = 3 << 30  # bytes; the file is sparse
NODE_FILES = Path(__file__).parent / "node"

PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "conntrack",
    "curl",
    "dbus",
    "ethtool",
    "iproute2",
    "iptables",
    "iputils-arping",
    "iputils-ping",
    "ipvsadm",
    "keepalived",
    "kmod",
    "linux-image-cloud-amd64",
    "net-tools",
    "nftables",
    "nghttp2-client",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "python3-pyroute2",
    "python3-yaml",
    "strace",
    "sudo",
    "systemd-sysv",
    "tcpdump",
    "udev",
)

#: What the roles install where it is missing. Nodes can install it again without a network.
KEPT_PACKAGES = ("conntrack", "ipvsadm", "nftables", "python3-pyroute2")
#: What tests install without a network, with the packages that these depend on. No node has them from the start.
OFFERED_PACKAGES = ("firewalld", "ufw")

APT_OPTIONS = ('Apt::Install-Recommends "0"', 'Acquire::Languages "none"')
EXCLUDED_PATHS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
DISABLED_UNITS = ("keepalived.service", "ipvsadm.service")  # what a fresh Debian would start by itself

# what costs boot time and a node of the lab does not need
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "ldconfig.service",
    "man-db.timer",
    "modprobe@configfs.service",
    "modprobe@dm_mod.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "modprobe@loop.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-sysusers.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
)

# file below node/ -> path and mode in the image
INSTALLED = {
    "agent.sh": ("/usr/local/sbin/l4lb-lab-agent", 0o755),
    "network.sh": ("/usr/local/sbin/l4lb-lab-network", 0o755),
    "bytecode.py": ("/usr/lib/python3/dist-packages/l4lb_lab_bytecode.py", 0o644),
    "bytecode.pth": ("/usr/lib/python3/dist-packages/l4lb_lab_bytecode.pth", 0o644),
    "load.py": ("/usr/local/bin/l4lb-load", 0o755),
    "serve.py": ("/usr/local/bin/l4lb-serve", 0o755),
    "l4lb-lab-agent.service": ("/etc/systemd/system/l4lb-lab-agent.service", 0o644),
    "l4lb-lab-network.service": ("/etc/systemd/system/l4lb-lab-network.service", 0o644),
    "l4lb-serve.service": ("/etc/systemd/system/l4lb-serve.service", 0o644),
    "sshd.conf": ("/etc/ssh/sshd_config.d/l4lb-lab.conf", 0o644),
    "journald.conf": ("/etc/systemd/journald.conf.d/l4lb-lab.conf", 0o644),
}
ENABLED_UNITS = ("l4lb-lab-agent.service", "l4lb-lab-network.service", "l4lb-serve.service")
INITRD_MODULES = ("virtio_pci", "virtio_blk", "ext4")

# program, or path of a file -> the Debian package that has it
HOST_PROGRAMS = {
    # what proves Debian's packages; a host that is no Debian does not have it by itself
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


@dataclass(frozen=True)
class Image:
    """The files of one built image."""

    directory: Path

    @property
    def disk(self) -> Path:
        """The root file system: raw, ext4, never written to."""
        return self.directory / "root.ext4"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"

    @property
    def key(self) -> Path:
        """The private ssh key that root of every node accepts."""
        return self.directory / "id_ed25519"


def _find(name: str) -> object:
    return Path(name).is_file() if name.startswith("/") else shutil.which(name, path=SEARCH_PATH)


def require_programs(find: Callable[[str], object] = _find) -> None:
    """Raise LabError naming every missing program or file, and the command that installs their packages."""
    programs = dict(HOST_PROGRAMS)
    if os.getuid() != 0:
        # files of root without being root, and the id ranges that mmdebstrap's unshare mode needs
        programs.update({"fakeroot": "fakeroot", "newuidmap": "uidmap"})
    missing = {program: package for program, package in programs.items() if not find(program)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        command = f"apt-get install --no-install-recommends {packages}"
        raise LabError(f"The lab needs {', '.join(sorted(missing))}. Install with:\n  {command}")


def recipe_hash() -> str:
    """A short hash of everything that decides what is in the image: this file and the files of the nodes."""
    digest = hashlib.sha256()
    for path in (Path(__file__), *sorted(path for path in NODE_FILES.iterdir() if path.is_file())):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def apt_sources(targets: str) -> list[str]:
    """Turn lines ``URI RELEASE COMPONENT`` of apt-get indextargets into sources.list lines for the image.

    Only the suites of the image's own release are taken, so that third-party sources of the host stay out.
    Empty when the host has none of them: mmdebstrap then uses its default mirror.
    """
    wanted = {SUITE, f"{SUITE}-updates", f"{SUITE}-security"}
    lines = [line.split() for line in targets.splitlines()]
    chosen = {(uri, release) for uri, release, component in lines if release in wanted and component == "main"}
    return [f"deb {uri} {release} main" for uri, release in sorted(chosen, key=lambda item: (item[1], item[0]))]


def host_sources() -> list[str]:
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    if not shutil.which(command[0]):
        return []
    return apt_sources(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def bootstrap_command(sources: Iterable[str], archive: Path) -> list[str]:
    """The mmdebstrap call that writes the packages' files to the tar file *archive*."""
    units = shlex.join(DISABLED_UNITS)
    packages = shlex.join((*KEPT_PACKAGES, "--", *OFFERED_PACKAGES))
    keep = f'{shlex.quote(str(NODE_FILES / "repository.sh"))} "$1" {packages}'
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={option}" for option in APT_OPTIONS),
        *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDED_PATHS),
        f'--customize-hook=systemctl --quiet --root="$1" disable {units}',
        f"--customize-hook={keep}",
        SUITE,
        str(archive),
        *sources,
    ]


def _entry(name: str, mode: int, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.mode, entry.type, entry.linkname, entry.size, entry.mtime = mode, kind, link, size, int(time.time())
    return entry


def write_overlay(archive: Path, key: Path, host_key: Path) -> None:
    """Write the lab's own files as a tar archive owned by root, to be unpacked over the packages' files.

    :param key: The private key whose public half root of the nodes accepts.
    :param host_key: The private key by which the nodes are known, all of them.
    """
    texts = {
        "/etc/apt/sources.list": ("deb [trusted=yes] file:/usr/local/share/packages ./\n", 0o644),
        "/etc/fstab": ("# the kernel's command line names the root file system\n", 0o644),
        "/etc/hostname": ("node\n", 0o644),
        "/etc/machine-id": ("0" * 31 + "1\n", 0o444),
        "/etc/network/interfaces": ("", 0o644),
        "/etc/resolv.conf": ("# nothing is ever resolved\n", 0o644),
        "/root/.ssh/authorized_keys": (key.with_suffix(".pub").read_text(), 0o600),
        "/etc/ssh/ssh_host_ed25519_key": (host_key.read_text(), 0o600),
        "/etc/ssh/ssh_host_ed25519_key.pub": (host_key.with_suffix(".pub").read_text(), 0o644),
    }
    for name, (path, mode) in INSTALLED.items():
        interpreter = "#!/usr/bin/python3\n" if name.endswith(".py") else ""
        texts[path] = (interpreter + (NODE_FILES / name).read_text(), mode)
    wants = "/etc/systemd/system/multi-user.target.wants"
    links = {f"/etc/systemd/system/{unit}": "/dev/null" for unit in MASKED_UNITS}
    links.update({f"{wants}/{unit}": f"/etc/systemd/system/{unit}" for unit in ENABLED_UNITS})
    with tarfile.open(archive, "w") as tar:
        tar.addfile(_entry("/root/.ssh", 0o700, tarfile.DIRTYPE))
        for path, (text, mode) in texts.items():
            content = text.encode()
            tar.addfile(_entry(path, mode, size=len(content)), io.BytesIO(content))
        for path, target in links.items():
            tar.addfile(_entry(path, 0o777, tarfile.SYMTYPE, target))


def module_files(modules_dep: str, names: Iterable[str]) -> list[str]:
    """The files that load the modules *names*, dependencies first, each once, from the text of modules.dep.

    A module that is not in the text is built into the kernel.
    """
    needs = {}
    for line in modules_dep.splitlines():
        path, dummy, dependencies = line.partition(":")
        needs[Path(path).name.split(".")[0].replace("-", "_")] = [*reversed(dependencies.split()), path]
    return list(dict.fromkeys(path for name in names for path in needs.get(name, ())))


def _cpio(entries: Iterable[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """A cpio archive in the ``newc`` form that the kernel reads (Documentation/driver-api/early-userspace)."""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % value for value in fields) + name.encode() + b"\0"
        for part in (header, content):
            yield part + b"\0" * (-len(part) % 4)


def write_initrd(tree: Path, initrd: Path) -> None:
    """Write an initial ram disk with busybox, the few modules the disk needs, and node/init.sh."""
    modules = next((tree / "lib" / "modules").iterdir())
    files = module_files((modules / "modules.dep").read_text(), INITRD_MODULES)
    directories = ("bin", "dev", "proc", "root", "modules")
    entries: list[tuple[str, int, bytes]] = [(name, 0o40755, b"") for name in directories]
    entries.append(("bin/busybox", 0o100755, (tree / "bin" / "busybox").read_bytes()))
    entries.append(("bin/sh", 0o120777, b"busybox"))
    entries.append(("init", 0o100755, (NODE_FILES / "init.sh").read_bytes()))
    order = []
    for path in files:
        content = (modules / path).read_bytes()
        name = Path(path).name.removesuffix(".xz")
        entries.append((f"modules/{name}", 0o100644, lzma.decompress(content) if path.endswith(".xz") else content))
        order.append(f"{name}\n")
    entries.append(("modules/order", 0o100644, "".join(order).encode()))
    initrd.write_bytes(b"".join(_cpio(entries)))


def _make_disk(archives: Iterable[Path], tree: Path, disk: Path) -> None:
    with disk.open("wb") as handle:
        handle.truncate(DISK_SIZE)
    options = ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "60000"]
    options += ["-E", "lazy_itable_init=1,nodiscard"]
    commands = [["tar", "-xf", str(archive), "-C", str(tree), "--exclude=./dev/*"] for archive in archives]
    commands.append(["mke2fs", *options, "-d", str(tree), str(disk)])
    # one shell below one fakeroot: the owners that tar pretends to set exist only inside it
    wrapper = [] if os.getuid() == 0 else ["fakeroot"]
    _run([*wrapper, "sh", "-c", " && ".join(shlex.join(command) for command in commands)])


def _run(command: list[str]) -> None:
    environment = {**os.environ, "PATH": SEARCH_PATH, "INITRD": "No"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            output, dummy = process.communicate()
        except BaseException:
            # mmdebstrap undoes its mounts when it is asked to end, and cannot when it is killed
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise LabError(f"{command[0]} failed with status {process.returncode}:\n{output[-3000:]}")


def _new_key(path: Path) -> None:
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "l4lb-lab", "-f", str(path)])


def _build(directory: Path) -> None:
    image = Image(directory)
    with tempfile.TemporaryDirectory(prefix="l4lb-image-") as name:
        work = Path(name)
        work.chmod(0o755)  # mmdebstrap's unshare mode and apt's sandbox user look into it
        tree = work / "tree"
        tree.mkdir()
        _run(bootstrap_command(host_sources(), work / "packages.tar"))
        _new_key(image.key)
        _new_key(work / "host_key")
        write_overlay(work / "overlay.tar", image.key, work / "host_key")
        _make_disk((work / "packages.tar", work / "overlay.tar"), tree, image.disk)
        shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), image.kernel)
        write_initrd(tree, image.initrd)


def ensure_image(say: Callable[[str], None]) -> Image:
    """Return the image of the present recipe, building it first when the cache does not have it.

    :param say: Is told about what takes long.
    :raises LabError: A program is missing, or the build failed.
    """
    require_programs()
    cache = cache_directory()
    directory = cache / f"image-{recipe_hash()}"
    with locked(cache):
        if not directory.exists():
            say(f"Building the image of the nodes ({SUITE}), once; it stays in {directory}")
            start = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as name:
                unfinished = Path(name) / "image"
                unfinished.mkdir()
                _build(unfinished)
                unfinished.rename(directory)
            say(f"Built in {time.monotonic() - start:.0f} s")
    return Image(directory)
