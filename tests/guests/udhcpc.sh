#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What udhcpc calls when it has, or loses, an address.
case $1 in
deconfig) ip addr flush dev $interface ;;
bound|renew)
    ip addr add $ip/${mask:-24} dev $interface
    [ -z "$router" ] || ip route add default via ${router%% *} dev $interface
    : >/etc/resolv.conf
    for d in $dns; do echo nameserver $d >>/etc/resolv.conf; done ;;
esac
