"""Stands in for container images with root file systems of Debian packages.

Each image is the tree of a distribution under a thin layer of this project's own: the user that the
image has, and an entry point that does what the image's does with data that is there already.
"""

import pathlib
import shutil
import subprocess

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENTRY = "/usr/local/bin/entry"
MIRROR = "http://deb.debian.org/debian"
# For a suite whose list of packages may be older than it says it is good for.
STALE = '--aptopt=Acquire::Check-Valid-Until "false"'


def tree(folder, name, suite, packages, *options):
    """Returns the tree of a suite with these packages, made once."""
    made = pathlib.Path(folder) / name
    if made.exists():
        return made
    new = made.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", *options]
    done = subprocess.run([*words, suite, str(new), MIRROR], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"mmdebstrap failed:\n{done.stderr[-2000:]}")
    new.rename(made)
    return made


def layer(folder, name, base, users, files):
    """Returns a layer above a tree: the numbers of users as the image has them, and files.

    A file is its mode and text, or no mode and the target of a link.
    """
    made = pathlib.Path(folder) / f"{name}.layer"
    shutil.rmtree(made, ignore_errors=True)
    (made / "etc").mkdir(parents=True)
    for part in ("passwd", "group"):
        lines = (base / "etc" / part).read_text().splitlines()
        kept = [line for line in lines if line.split(":")[0] not in users]
        for user, (number, home) in users.items():
            passwd = f"{user}:x:{number}:{number}::{home}:/bin/sh"
            kept.append(passwd if part == "passwd" else f"{user}:x:{number}:")
        (made / "etc" / part).write_text("\n".join(kept) + "\n")
    for path, (mode, text) in files.items():
        file = made / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if mode is None:
            file.symlink_to(text)
            continue
        file.write_text(text)
        file.chmod(mode)
    return made


def program(name):
    """Returns an entry point that puts the program before options."""
    return f'#!/bin/sh\ncase "${{1:-}}" in -*) set -- {name} "$@" ;; esac\nexec "$@"\n'


def databases(folder):
    """Makes the images of PostgreSQL and Valkey, by the names of their repositories."""
    packages = ("postgresql-17", "valkey-server", "valkey-tools")
    base = tree(folder, "databases", "trixie", packages)
    postgres = layer(
        folder, "postgres", base, {"postgres": (999, "/var/lib/postgresql")},
        {ENTRY: (0o755, program("postgres"))},
    )
    return {
        "postgres": {
            "layers": [postgres, base],
            "env": {"PATH": f"{PATH}:/usr/lib/postgresql/17/bin", "LANG": "C.UTF-8", "PGDATA": "/var/lib/postgresql/data"},
            "entrypoint": [ENTRY], "cmd": ["postgres"], "stopsignal": "SIGINT", "homes": {999: "/var/lib/postgresql"},
        }
    } | valkey(folder, "valkey", base)


def valkey(folder, name, base):
    """Makes the image of Valkey above a tree that has it."""
    own = layer(folder, name, base, {"valkey": (999, "/data")}, {ENTRY: (0o755, program("valkey-server"))})
    return {
        "valkey": {
            "layers": [own, base], "env": {"PATH": PATH}, "entrypoint": [ENTRY], "cmd": ["valkey-server"],
            "workdir": "/data", "homes": {999: "/data"},
        }
    }


def valkey_upgrade(folder):
    """Makes the images of Valkey of two distributions, of which the newer counts as sold."""
    base = tree(folder, "valkey-tree-sid", "sid", ("valkey-server", "valkey-tools"), STALE)
    return valkey(folder, "valkey-sid", base) | {"valkey-older": databases(folder)["valkey"]}


def mysql(folder):
    """Makes the image of MySQL, of the long-term line that the distribution has."""
    base = tree(folder, "mysql", "sid", ("mysql-server-core", "mysql-client-core"), STALE)
    files = {ENTRY: (0o755, program("mysqld")), "/var/lib/mysql-files/.keep": (0o644, "")}
    own = layer(folder, "mysql-own", base, {"mysql": (999, "/var/lib/mysql")}, files)
    return {
        "mysql": {
            "layers": [own, base], "env": {"PATH": PATH}, "entrypoint": [ENTRY], "cmd": ["mysqld"],
            "homes": {999: "/var/lib/mysql"},
        }
    }


KEYS = ("AUTH_KEY", "SECURE_AUTH_KEY", "LOGGED_IN_KEY", "NONCE_KEY", "AUTH_SALT", "SECURE_AUTH_SALT", "LOGGED_IN_SALT", "NONCE_SALT")
WP_CONFIG = """<?php
foreach (['NAME', 'USER', 'PASSWORD', 'HOST'] as $part) define("DB_$part", getenv("WORDPRESS_DB_$part"));
{keys}
$table_prefix = 'wp_';
if (($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https') $_SERVER['HTTPS'] = 'on';
eval(getenv('WORDPRESS_CONFIG_EXTRA'));
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
"""
ENVVARS = """export APACHE_RUN_USER=www-data APACHE_RUN_GROUP=www-data APACHE_PID_FILE=/run/apache2/apache2.pid
export APACHE_RUN_DIR=/run/apache2 APACHE_LOCK_DIR=/run/lock/apache2 APACHE_LOG_DIR=/var/log/apache2 LANG=C
"""


def wordpress_upgrade(folder):
    """Makes the images of WordPress with PHP of two distributions, of which the newer counts as sold."""
    return wordpress(folder, "-sid", "sid", STALE) | {"wordpress-older": wordpress(folder)["wordpress"]}


def wordpress(folder, suffix="", suite="trixie", *options):
    """Makes the images of WordPress and of its database."""
    packages = ("apache2", "libapache2-mod-php", "php-mysql", "php-cli", "php-gd", "wordpress")
    base = tree(folder, f"wordpress{suffix}", suite, packages, *options)
    keys = "\n".join(f"define('{key}', 'put your unique phrase here');" for key in KEYS)
    own = layer(
        folder, f"wordpress{suffix}-own", base, {},
        {
            ENTRY: (0o755, '#!/bin/sh\nexec "$@"\n'),
            "/usr/local/bin/apache2-foreground": (0o755, '#!/bin/sh\n. /etc/apache2/envvars\nexec apache2 -DFOREGROUND "$@"\n'),
            "/etc/apache2/envvars": (0o644, ENVVARS),
            "/usr/src/wordpress/wp-config-docker.php": (0o644, WP_CONFIG.replace("{keys}", keys)),
            **{f"/var/log/apache2/{log}.log": (None, "/proc/self/fd/2") for log in ("error", "access", "other_vhosts_access")},
        },
    )
    # Links lead to other packages, inside the tree only.
    copy = f"mount --bind '{own}/usr/src/wordpress' '{base}/mnt' && chroot '{base}' cp -rLn /usr/share/wordpress/. /mnt/; umount '{base}/mnt'"
    subprocess.run(["unshare", "--mount", "sh", "-c", copy], check=False, stderr=subprocess.DEVNULL)
    (own / "usr/src/wordpress/wp-config.php").unlink(missing_ok=True)
    return {
        "wordpress": {
            "layers": [own, base], "env": {"PATH": PATH}, "entrypoint": [ENTRY], "cmd": ["apache2-foreground"],
            "workdir": "/var/www/html", "stopsignal": "SIGWINCH", "homes": {33: "/var/www"},
        }
    } | mysql(folder)
