#!/bin/sh
# kube-proxy and kindnet find the API server by the control plane's container name, which only the engine's
# resolver knows; their pods ask the lab's resolver instead (kubelet-resolver.yaml). A hostNetwork pod's
# /etc/hosts is the node's, so the name goes there, asked anew of the engine whenever the kubelet starts.
# The engine copies the host's hosts file, which may know localhost by IPv4 alone. A runtime that forwards a port into a pod of
# IPv6 looks the name up here.
if grep -q ' lo$' /proc/net/if_inet6 2>/dev/null && ! grep -q '^::1[[:space:]].*localhost' /etc/hosts; then
	echo '::1 localhost' >> /etc/hosts
fi
name=$(cat /kind/parley/control-plane)
[ "$name" != "$(hostname)" ] || exit 0
found=$(getent -s hosts:dns ahosts "$name" | awk '$2 == "STREAM" {print $1}' | sort -u)
[ -n "$found" ] || exit 0
# Written in place: the file is a mount, which can't be replaced.
kept=$(grep -v "[[:space:]]$name\$" /etc/hosts)
{ echo "$kept"; for ip in $found; do echo "$ip $name"; done; } > /etc/hosts
