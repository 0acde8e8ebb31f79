#!/usr/bin/env bash
# A private SLURM for tests: one node, two GPUs that are not there, preemption between partitions.
#   one_node.sh up DIR [--accounting]   DIR: new or empty; ends with `export SLURM_CONF=...`
#   one_node.sh down DIR                cancels its jobs, stops its daemons; DIR/log stays
# Needs Debian's slurm-wlm and munge, for --accounting slurmdbd and mariadb-server; root or not.
# Key, sockets, ports, state and logs are its own, so that several of them and a system's SLURM run
# side by side. Its size is declared, not real: the same on every machine.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin" # where Debian keeps daemons, also from those who are not root

readonly NUM_CPUS=2 MEMORY_MB=16000
readonly START_S=30 STOP_S=10 # patience with one daemon
readonly LONGEST_SOCKET=107   # bytes that the kernel allows
readonly DAEMONS="slurmctld slurmd slurmdbd mariadbd munged" # in the order of stopping

fail() {
  printf 'one_node.sh: %s\n' "$*" >&2
  exit 1
}

usage() { fail "usage: one_node.sh up DIR [--accounting] | one_node.sh down DIR"; }

fail_with_log() { # NAME MESSAGE
  tail -n 15 "$DIR/log/$1".* >&2 || true
  fail "$1 $2; above is the end of its logs in $DIR/log"
}

# --- processes, known by the pid files in DIR/run

recorded_pid() { [[ -s $DIR/run/$1.pid ]] && cat "$DIR/run/$1.pid"; } # NAME

# Its name, unless it has ended: one that its parent has not collected is a zombie.
name_of() { # PID
  awk '/^Name:/ {name = $2} /^State:/ {zombie = $2 == "Z"} END {if (!zombie) print name}' \
    "/proc/$1/status" 2>/dev/null || true
}

# The name guards against a pid that somebody else has by now.
alive() { # NAME
  local pid
  pid="$(recorded_pid "$1" 2>/dev/null)" && [[ "$(name_of "$pid")" == "$1" ]]
}

# Daemons keep what they inherit: with our standard output a pipe would never end.
start() { # NAME COMMAND...
  local name="$1"
  shift
  "$@" </dev/null >"$DIR/log/$name.out" 2>&1 || fail_with_log "$name" "did not start"
}

await() { # NAME COMMAND...: until the command succeeds; fails once the daemon has come and gone
  local name="$1" pid deadline=$((SECONDS + START_S))
  shift
  until "$@" >/dev/null 2>&1; do
    if pid="$(recorded_pid "$name")" && [[ -z "$(name_of "$pid")" ]]; then
      fail_with_log "$name" "ended"
    fi
    ((SECONDS < deadline)) || fail_with_log "$name" "did not answer within $START_S s"
    sleep 0.1
  done
}

stop() { # NAME
  local name="$1" signal deadline
  for signal in TERM KILL; do
    alive "$name" || break
    kill -s "$signal" "$(recorded_pid "$name")" 2>/dev/null || true
    deadline=$((SECONDS + STOP_S))
    while alive "$name" && ((SECONDS < deadline)); do sleep 0.1; done
  done
  rm -f "$DIR/run/$name.pid"
}

# The processes of jobs outlive slurmd, so they go first.
end_jobs() {
  local pids deadline=$((SECONDS + STOP_S))
  timeout "$STOP_S" scancel --quiet --user="$(id -un)" || true
  while pids="$(scontrol listpids 2>/dev/null | awk '$1 ~ /^[0-9]+$/ {print $1}')" &&
    [[ -n $pids ]] && ((SECONDS < deadline)); do
    xargs kill -s KILL <<<"$pids" 2>/dev/null || true
    sleep 0.2
  done
}

down() {
  local name
  if alive slurmctld && alive slurmd; then end_jobs; fi
  for name in $DAEMONS; do stop "$name"; done
  rm -rf "$DIR/database" # some 180 MB
}

# --- configuration

# Below the range that the kernel hands out, or a client's connection might take the port meanwhile.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); do
    (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null || break
  done
  echo "$port"
}

write_slurm_conf() {
  local host
  host="$(uname -n)"
  host="${host%%.*}"
  echo "NodeName=node Name=gpu File=/dev/null,/dev/zero" >"$DIR/gres.conf"
  cat >"$DIR/slurm.conf" <<CONF
ClusterName=ptltest
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge.socket
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
SlurmctldPidFile=$DIR/run/slurmctld.pid
SlurmdPidFile=$DIR/run/slurmd.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MaxArraySize=1001
NodeName=node NodeHostname=$host NodeAddr=127.0.0.1 CPUs=$NUM_CPUS RealMemory=$MEMORY_MB Gres=gpu:2
PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE State=UP DefMemPerCPU=500
PartitionName=debug Default=YES PriorityTier=10
PartitionName=low PriorityTier=1 GraceTime=10
PartitionName=high PriorityTier=100
CONF
}

write_accounting_conf() { # DATABASE_PORT PASSWORD
  local port
  port="$(free_port)"
  cat >>"$DIR/slurm.conf" <<CONF
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$port
AccountingStoragePass=$DIR/run/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations
CONF
  (umask 077 && cat >"$DIR/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$DIR/run/munge.socket
DbdHost=localhost
DbdPort=$port
SlurmUser=$(id -un)
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$1
StorageUser=slurm
StoragePass=$2
StorageLoc=slurm_acct_db
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/run/slurmdbd.pid
CONF
}

# --- daemons

start_munged() {
  (umask 077 && head -c 128 /dev/urandom >"$DIR/run/munge.key")
  # --force: a folder that is not open to all, or not root's, is fine for a cluster of one user.
  start munged munged --force --origin=127.0.0.1 --socket="$DIR/run/munge.socket" \
    --key-file="$DIR/run/munge.key" --pid-file="$DIR/run/munged.pid" \
    --log-file="$DIR/log/munged.log" --seed-file="$DIR/run/munge.seed"
  await munged munge --no-input --socket="$DIR/run/munge.socket"
}

start_accounting() {
  local port password socket="$DIR/run/database.socket"
  port="$(free_port)"
  password="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  start mariadbd mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$DIR/database" \
    --auth-root-authentication-method=normal --skip-test-db
  setsid mariadbd --no-defaults --user="$(id -un)" --datadir="$DIR/database" --socket="$socket" \
    --bind-address=127.0.0.1 --port="$port" --pid-file="$DIR/run/mariadbd.pid" \
    --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 \
    --innodb-flush-log-at-trx-commit=0 </dev/null >"$DIR/log/mariadbd.log" 2>&1 &
  echo "$!" >"$DIR/run/mariadbd.pid" # so that a failure shows before it would write this itself
  local query=(mariadb --no-defaults --user=root --socket="$socket" --execute)
  await mariadbd "${query[@]}" "select 1"
  "${query[@]}" "create database slurm_acct_db;
    create user 'slurm'@'127.0.0.1' identified by '$password';
    grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1'"
  write_accounting_conf "$port" "$password"
  start slurmdbd slurmdbd
  await slurmdbd sacctmgr --immediate add cluster ptltest
  [[ $(id -un) == root ]] || start slurmdbd sacctmgr --immediate add user "$(id -un)" account=root
}

node_is_idle() { [[ "$(sinfo --noheader --format=%T)" == *idle* ]]; }

up() {
  local name needed=(munged slurmctld slurmd)
  [[ $accounting == no ]] || needed+=(mariadbd mariadb-install-db slurmdbd)
  for name in "${needed[@]}"; do
    command -v "$name" >/dev/null ||
      fail "no $name; apt-get install slurm-wlm munge slurmdbd mariadb-server"
  done
  [[ $DIR =~ ^[A-Za-z0-9/._+-]+$ ]] || fail "SLURM cannot write the path $DIR: choose a plainer DIR"
  local socket="$DIR/spool/node_4294967295.4294967295" # slurmstepd's, the longest of all
  ((${#socket} <= LONGEST_SOCKET)) ||
    fail "$DIR is $((${#socket} - LONGEST_SOCKET)) bytes too long for sockets: choose a shorter DIR"
  [[ -z "$(ls -A "$DIR" 2>/dev/null)" ]] || fail "$DIR is not empty: choose a new DIR"
  mkdir -p "$DIR"/{run,log,state,spool}

  trap down EXIT # nothing is left of a start that failed or was interrupted
  write_slurm_conf
  start_munged
  [[ $accounting == no ]] || start_accounting
  start slurmctld slurmctld
  start slurmd slurmd
  await slurmctld scontrol ping
  await slurmd node_is_idle
  trap - EXIT
  sinfo --format="%P %N %T %G"
  echo "export SLURM_CONF=$SLURM_CONF"
}

[[ $# -ge 2 ]] || usage
DIR="$(realpath -m "$2")"
export SLURM_CONF="$DIR/slurm.conf"
case "$1 ${3:-}" in
  "up ") accounting=no up ;;
  "up --accounting") accounting=yes up ;;
  "down ")
    [[ -f $SLURM_CONF ]] || fail "$DIR holds no cluster"
    down
    ;;
  *) usage ;;
esac
