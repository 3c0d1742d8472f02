# Sourced by the scripts beside it: who runs the server, where things are kept,
# which PostgreSQL.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$top/test/tools

say()
{
  printf '%s\n' "$*" >&2
}

fail()
{
  say "$(basename "$0"): $*"
  exit 1
}

# PostgreSQL refuses to run as root, and a checkout under /root is closed to
# everybody else: the server, the build and the tests run as an ordinary user
# in a directory of their own.
if [ "$(id -u)" = 0 ]; then
  server_user=${EVILNET_USER:-postgres}
else
  server_user=$(id -un)
fi
evilnet_home=${EVILNET_HOME:-/var/tmp/evilnet-$(id -u)}
# what was fetched once, Arrow to build with too
export EVILNET_CACHE=${EVILNET_CACHE:-$evilnet_home/cache}

as_root()
{
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "\"$1\" has to run as root: install sudo, or run make as root"
  fi
}

as_server()
{
  if [ "$(id -u)" = 0 ]; then
    (cd / && runuser -u "$server_user" -- env HOME="$evilnet_home" "$@")
  else
    "$@"
  fi
}

# The directory must be the server user's alone: /var/tmp is everybody's.
make_home()
{
  if [ ! -d "$evilnet_home" ]; then
    mkdir -m 700 "$evilnet_home"
    chown "$server_user" "$evilnet_home"
  fi
  if [ -L "$evilnet_home" ] || [ "$(stat -c %U "$evilnet_home")" != "$server_user" ]; then
    fail "$evilnet_home is not a directory of user $server_user: move it away, or set EVILNET_HOME"
  fi
}

# What was fetched once; tests, which run as the server's user, add to it.
make_cache()
{
  make_home
  if [ ! -d "$EVILNET_CACHE" ]; then
    mkdir -p "$EVILNET_CACHE"
    chown "$server_user" "$EVILNET_CACHE"
  fi
}

# Sets pg_config and pg_bindir: PG_CONFIG if given, else the newest supported
# PostgreSQL that has its server headers.  False when there is none.
find_postgres()
{
  local major

  pg_config=${PG_CONFIG:-}
  if [ -z "$pg_config" ]; then
    for major in 18 17 16 15; do
      if [ -f "/usr/lib/postgresql/$major/lib/pgxs/src/makefiles/pgxs.mk" ] &&
        [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
        pg_config=/usr/lib/postgresql/$major/bin/pg_config
        break
      fi
    done
  fi
  [ -n "$pg_config" ] || return 1
  pg_bindir=$("$pg_config" --bindir)
}

# copy_tree DIR: the checkout as it is now, readable and writable to the server
# user.  Objects built there before are kept, and stay current as tar keeps times.
copy_tree()
{
  local dir=$1

  as_server mkdir -p "$dir"
  as_server find "$dir" -type f ! -name '*.o' ! -name '*.d' ! -name '*.so' -delete
  tar -C "$top" --exclude=./.git --exclude='*.o' --exclude='*.d' --exclude='*.so' -cf - . |
    as_server tar -C "$dir" --no-same-owner -xf -
}

# build_and_install DIR [VARIABLE=value ...]: from a copied tree into PostgreSQL
build_and_install()
{
  local dir=$1

  shift
  as_server make -s -C "$dir" -j"$(nproc)" PG_CONFIG="$pg_config" "$@" &&
    as_root make -s -C "$dir" PG_CONFIG="$pg_config" "$@" install >/dev/null
}

# A private cluster is a directory with data, socket, log and password in it.
# Its socket is open to whoever may enter the directory; TCP asks the password.

cluster_running()
{
  as_server "$pg_bindir/pg_ctl" -D "$1/data" status >/dev/null 2>&1
}

free_port()
{
  local port

  for port in $(seq 54320 54399); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  fail "no free port from 54320 to 54399"
}

# of another major version: kept aside, for what is in it may be dear
keep_old_data()
{
  local dir=$1 have

  have=$(as_server cat "$dir/data/PG_VERSION" 2>/dev/null) || return 0
  if [ "$have" != "$("$pg_bindir/postgres" -V | sed 's/.* \([0-9]*\)\..*/\1/')" ]; then
    as_server mv "$dir/data" "$dir/data-$have"
  fi
}

init_cluster()
{
  local dir=$1

  as_server mkdir -p "$dir/socket"
  keep_old_data "$dir"
  as_server test ! -f "$dir/data/PG_VERSION" || return 0
  as_server sh -c 'umask 077; od -An -N16 -tx1 /dev/urandom | tr -d " \n" >"$1/password"' sh "$dir"
  as_server "$pg_bindir/initdb" -D "$dir/data" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 --pwfile="$dir/password" >"/dev/null"
  as_server sh -c 'echo "include = '\''evilnet.conf'\''" >>"$1/data/postgresql.conf"' sh "$dir"
}

# start_cluster DIR [SETTING ...]
start_cluster()
{
  local dir=$1

  shift
  init_cluster "$dir"
  printf '%s\n' \
    "port = $(free_port)" \
    "listen_addresses = '127.0.0.1'" \
    "unix_socket_directories = '$dir/socket'" \
    "shared_preload_libraries = 'evilnet,pg_cron'" \
    "cron.use_background_workers = on" \
    "evilnet.embedded_broker = on" \
    "max_worker_processes = 32" \
    "$@" |
    as_server tee "$dir/data/evilnet.conf" >/dev/null
  if ! as_server "$pg_bindir/pg_ctl" -D "$dir/data" -l "$dir/log" -w -s start; then
    as_server tail -n 20 "$dir/log" >&2
    fail "the server did not start; its log is $dir/log"
  fi
}

stop_cluster()
{
  ! cluster_running "$1" || as_server "$pg_bindir/pg_ctl" -D "$1/data" -w -s -m fast stop
}

# sets PGHOST, PGPORT and PGUSER for what connects next
use_cluster()
{
  export PGHOST=$1/socket PGUSER=postgres PGCLIENTENCODING=UTF8
  PGPORT=$(as_server sed -n 4p "$1/data/postmaster.pid")
  export PGPORT
}
