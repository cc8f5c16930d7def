#!/usr/bin/env bash
# A SLURM cluster on this machine for tests: one controller, one node, two pretended GPUs, all on loopback.
#
#   tests/slurm/cluster.sh start FOLDER     needs root, and slurmctld, slurmd and munge installed
#   tests/slurm/cluster.sh stop FOLDER
#
# FOLDER gets the configuration, state and logs; /etc/slurm/slurm.conf becomes a link into it, because jobs look
# there (the executor plugin takes SLURM_CONF out of their environment). A configuration of your own is left alone; a
# cluster of this script that a killed test left behind is stopped.
set -euo pipefail

action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
system=/etc/slurm

# Stop what was started with a folder.
stop_in() {
    local program file
    for program in slurmctld slurmd munged; do
        if [ -f "$1/$program.pid" ]; then
            kill "$(cat "$1/$program.pid")" 2>/dev/null || true
            rm -f "$1/$program.pid"
        fi
    done
    for file in slurm.conf gres.conf cgroup.conf; do
        if [ "$(readlink "$system/$file")" = "$1/$file" ]; then
            rm -f "$system/$file"
        fi
    done
}

stop() { stop_in "$folder"; }

# Where a killed test left a cluster of this script behind; nothing if it did not.
left_behind() {
    local link
    link=$(readlink "$system/slurm.conf") || return 0
    if [ ! -e "$link" ] || grep -qx 'ClusterName=texreward-test' "$link"; then
        dirname "$link"
    fi
}

write_configuration() {
    # Files that stand for GPUs: SLURM only looks at their names and numbers.
    mkdir -p "$folder/state" "$folder/spool"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=texreward-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
JobRequeue=1
MinJobAge=3600
# Eight CPUs whatever the machine has: a job that a test holds up must not keep the others waiting.
SlurmdParameters=config_overrides
MpiDefault=none
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
    echo "NodeName=$host Name=gpu File=/dev/tty[0-1]" >"$folder/gres.conf"
    cat >"$folder/cgroup.conf" <<CONF
CgroupAutomount=no
CONF
}

start() {
    stop
    local left
    left=$(left_behind)
    if [ -n "$left" ]; then
        stop_in "$left"
        sleep 1 # for the ports
    fi
    if [ -f "$system/slurm.conf" ]; then
        echo "$system/slurm.conf exists; the test does not touch a configured SLURM." >&2
        return 1
    fi
    write_configuration
    mkdir -p "$system"
    for file in slurm.conf gres.conf cgroup.conf; do
        ln -sf "$folder/$file" "$system/$file"
    done
    chmod 755 "$folder"
    dd if=/dev/urandom of="$folder/munge.key" bs=128 count=8 status=none
    chmod 600 "$folder/munge.key"
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
    slurmctld -c
    slurmd -c
    for _ in $(seq 60); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then
            return
        fi
        sleep 0.5
    done
    echo "The SLURM node did not become idle; see the logs in $folder." >&2
    tail -n 20 "$folder"/slurm*.log >&2
    return 1
}

"$action"
