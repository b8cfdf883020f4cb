# servers.sh - the servers that the scripts here measure; sourced by them, after
# cd to this folder. Needs bash, awk, taskset, a C compiler and Go.
#
#   limit        the least work that this protocol and kernel allow, in C
#   control      a second limit: how far two equal servers differ is the noise
#   gonet        the standard library, a goroutine a connection, msgpack/v5
#   gameserverd  ours; sqlite, mariadb, backlog, without and reward are ours too, on the
#                stores that the caller's environment says; on has all limits, off and off2 those that cannot be
#                switched off; before and before2 are the binary that BEFORE names; one-address and one-connection may have one
#   fanout       the bare room: one send to each connection, in C
#   refuse       the least that refuses a connection, in C; refuse-told says why
bin=$PWD/../bin
out_dir=$bin/bench
scratch=$(mktemp -d)
log=$scratch/servers.log
pids_started=()

# finish ends what was started; the log is shown only if something failed.
finish() {
    local status=$?
    [ ${#pids_started[@]} -gt 0 ] && kill "${pids_started[@]}" 2>/dev/null
    wait 2>/dev/null
    [ $status -ne 0 ] && [ -s "$log" ] && { echo "--- $log:"; tail -n 40 "$log"; } >&2
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

# build makes the tools and, unless SERVER names another binary, bin/gameserverd.
build() {
    make -s || exit 1
    [ -n "$SERVER" ] || (cd .. && go build -o bin/gameserverd ./cmd/gameserverd) || exit 1
    server=${SERVER:-$bin/gameserverd}
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

next_port=${BENCH_PORT:-17800}
free_port() {
    while listening "$next_port"; do next_port=$((next_port + 1)); done
    port=$next_port
    next_port=$((next_port + 1))
}

# start NAME [CPU]: starts it, with one loop on that CPU alone if one is given, and
# waits until it listens. Sets pid and port.
start() {
    local cpus=${2:+1} pin=${2:+taskset -c $2} tries
    [ -n "$cpus" ] || cpus=$(nproc)
    free_port
    mkdir -p "$scratch/$1"
    case $1 in
    limit | control) set -- "$1" "$out_dir/limit" -t "$cpus" "$port" ;;
    gonet) set -- "$1" "$out_dir/gonet" -addr "127.0.0.1:$port" ;;
    refuse) set -- "$1" "$out_dir/refuse" "$port" ;;
    refuse-told) set -- "$1" "$out_dir/refuse" "$port" told ;;
    before | before2) set -- "$1" "$BEFORE" serve ;;
    fanout) set -- "$1" "$out_dir/fanout" "$port" ;;
    gameserverd | sqlite | mariadb | backlog | without | reward | off | off2 | on | one-address | one-connection) set -- "$1" "$server" serve ;;
    *) echo "$1: no such server" >&2; return 1 ;;
    esac
    (
        cd "$scratch/$1" || exit 1
        export GOMAXPROCS=$cpus GAMESERVERD_LISTEN_TCP=127.0.0.1:$port GAMESERVERD_LOOP_COUNT=$cpus
        export GAMESERVERD_LISTEN_ADMIN=$ADMIN GAMESERVERD_LOG_LEVEL=warn
        export GAMESERVERD_LIMITS_MAX_CONNECTIONS=100000 GAMESERVERD_LIMITS_IDLE_TIMEOUT=1h
        case $1 in
        on)
            export GAMESERVERD_LIMITS_RATE_PER_SECOND=1000000 GAMESERVERD_LIMITS_RATE_BURST=10000000
            export GAMESERVERD_LIMITS_MAX_CONNECTIONS_PER_IP=100000 GAMESERVERD_LIMITS_CONNECTION_RATE_PER_IP=1000000
            export GAMESERVERD_LIMITS_LOGIN_RATE_PER_IP=1000000
            export GAMESERVERD_LIMITS_MAX_FRAME_BYTES_BEFORE_LOGIN=65536 GAMESERVERD_LIMITS_MAX_ELEMENTS_BEFORE_LOGIN=1000
            ;;
        one-address) export GAMESERVERD_LIMITS_MAX_CONNECTIONS_PER_IP=1 ;;
        one-connection) export GAMESERVERD_LIMITS_MAX_CONNECTIONS=1 ;;
        esac
        exec $rt $pin "${@:2}"
    ) >>"$log" 2>&1 &
    pid=$!
    pids_started+=("$pid")
    for tries in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || { echo "$1 ended at once" >&2; return 1; }
        listening "$port" && return 0
        sleep 0.1
    done
    echo "$1 does not listen on port $port" >&2
    return 1
}

stop() { kill "$1" 2>/dev/null; wait "$1" 2>/dev/null; true; }

mariadbd=$(PATH=$PATH:/usr/sbin; command -v mariadbd || command -v mysqld)

# start_mariadb NAME...: a server of our own with the options of Debian's package, and these
# databases. Sets mariadb_pid and mariadb_port.
start_mariadb() {
    local user= tries name make= dir=$scratch/mariadb-data
    [ "$(id -u)" = 0 ] && user=--user=root
    for name in "$@"; do make+="CREATE DATABASE $name;"; done
    mariadb-install-db --no-defaults --datadir="$dir" --auth-root-authentication-method=normal --skip-test-db $user >>"$log" 2>&1 || return 1
    free_port
    "$mariadbd" --no-defaults $user --datadir="$dir" --socket="$dir/s" --pid-file="$dir/pid" --port="$port" --bind-address=127.0.0.1 \
        --skip-name-resolve --character-set-server=utf8mb4 --innodb-flush-log-at-trx-commit=1 --log-warnings=0 >>"$log" 2>&1 &
    mariadb_pid=$! mariadb_port=$port
    pids_started+=("$mariadb_pid")
    for tries in $(seq 100); do
        kill -0 "$mariadb_pid" 2>/dev/null || return 1
        mariadb -uroot -h127.0.0.1 -P"$port" -e "$make" 2>/dev/null && return 0
        sleep 0.1
    done
    return 1
}

# dsn NAME: of a database of it.
dsn() { echo "root@tcp(127.0.0.1:$mariadb_port)/$1"; }

# start_redis: a Redis of our own that keeps nothing on the disk. Sets redis_pid and redis_url.
start_redis() {
    local tries
    free_port
    redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch" >>"$log" 2>&1 &
    redis_pid=$! redis_url=redis://127.0.0.1:$port/0
    pids_started+=("$redis_pid")
    for tries in $(seq 100); do
        listening "$port" && return 0
        sleep 0.1
    done
    return 1
}

# http ADDR PATH: the response.
http() {
    local fd
    exec {fd}<>"/dev/tcp/${1%:*}/${1#*:}" || return 1
    printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&"$fd"
    cat <&"$fd"
    exec {fd}>&-
}

busy() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat; }       # in 1/100 s

# quiet SECONDS: waits, at most that long, for 0.3 s with the CPUs idle.
quiet() {
    local end=$((SECONDS + $1)) was now
    was=$(busy)
    while sleep 0.3; now=$(busy); [ $((now - was)) -gt 3 ] && [ $SECONDS -lt $end ]; do was=$now; done
}

# field NAME: that number out of $json.
field() { sed -n "s/.*\"$1\": \([-0-9.]*\).*/\1/p" <<<"$json"; }

usage() { sed -n '2,/^cd /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
