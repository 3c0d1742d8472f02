"""Jars from Maven Central without Maven: a pinned list, checked by SHA-256, kept in a cache.

A list has one jar a line: its SHA-256 and its path in a Maven repository. A
file stands under its final name only if its hash was right.
"""
import concurrent.futures
import hashlib
import os
import ssl
import tempfile
import urllib.error
import urllib.request

REPOSITORIES = (
    "https://repo1.maven.org/maven2/",
    "https://repo.maven.apache.org/maven2/",
)
DEBIAN_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"


class JarError(Exception):
    pass


def read_list(list_file):
    """(sha256, path) of every jar in the list."""
    with open(list_file, encoding="ascii") as lines:
        return [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#")]


def cache_dirs():
    """Where jars may be kept, best first."""
    if os.environ.get("EVILNET_CACHE"):
        return [os.environ["EVILNET_CACHE"]]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return ["/var/cache/evilnet", os.path.join(home, "evilnet")]


def writable_cache():
    """The first cache directory that this user can write to, created if need be."""
    for directory in cache_dirs():
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            return directory
    raise JarError("no cache directory can be written: set EVILNET_CACHE")


def jar_paths(directory, jars):
    return [os.path.join(directory, "jars", os.path.basename(path)) for _, path in jars]


def ssl_context():
    """A Python that brings no certificates of its own uses Debian's."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and os.path.exists(DEBIAN_CA_FILE):
        context.load_verify_locations(DEBIAN_CA_FILE)
    return context


def download(path, context):
    problem = None
    for repository in REPOSITORIES:
        try:
            with urllib.request.urlopen(repository + path, timeout=60, context=context) as answer:
                return answer.read()
        except (urllib.error.URLError, OSError) as error:
            problem = error
    raise JarError(f"{path}: {problem}")


def fetch_one(jar, target, context):
    sha256, path = jar
    content = download(path, context)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise JarError(f"{path}: its SHA-256 is not the pinned one")
    handle, partial = tempfile.mkstemp(dir=os.path.dirname(target))
    with os.fdopen(handle, "wb") as out:
        out.write(content)
    os.chmod(partial, 0o644)
    os.replace(partial, target)


def fetch(list_file):
    """Paths of all jars in the list; those that no cache holds are downloaded first."""
    jars = read_list(list_file)
    for directory in cache_dirs():
        paths = jar_paths(directory, jars)
        if all(map(os.path.exists, paths)):
            return paths
    directory = writable_cache()
    os.makedirs(os.path.join(directory, "jars"), exist_ok=True)
    paths = jar_paths(directory, jars)
    context = ssl_context()
    missing = [(jar, path) for jar, path in zip(jars, paths) if not os.path.exists(path)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: fetch_one(*item, context), missing))
    return paths
