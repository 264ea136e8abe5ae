#!/bin/bash
# ceph.sh start|stop DIR: one monitor, one store in memory and the S3 gateway on 127.0.0.1:18088, user lab/labsecret.
set -u; D=$(realpath -m "${2:?dir}"); export CEPH_CONF=$D/ceph.conf; C="-c $D/ceph.conf"
if [ "$1" = stop ]; then for s in rgw osd mon; do f=$D/run/$s.pid; [ -s "$f" ] || continue; p=$(cat "$f"); kill "$p" 2>/dev/null; for _ in $(seq 80); do kill -0 "$p" 2>/dev/null || break; sleep .1; done; kill -9 "$p" 2>/dev/null; rm -f "$f"; done; exit; fi
rm -rf "$D"; mkdir -p "$D"/{run,log,mon,osd}; fsid=$(cat /proc/sys/kernel/random/uuid)
cat >$CEPH_CONF <<E
[global]
fsid = $fsid
mon_host = v1:127.0.0.1:16789
public_network = 127.0.0.0/8
ms_bind_msgr2 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data = $D/mon
osd_data = $D/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
run_dir = $D/run
admin_socket = $D/run/\$name.asok
log_file = $D/log/\$name.log
keyring = $D/keyring
err_to_stderr = false
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:18088 tcp_nodelay=1
rgw_enable_ops_log = false
E
ceph-authtool --create-keyring "$D/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
monmaptool --create --addv a '[v1:127.0.0.1:16789]' --fsid "$fsid" "$D/monmap" >/dev/null
ceph-mon $C --mkfs -i a --monmap "$D/monmap" --keyring "$D/keyring" || exit 1
ceph-mon $C -i a --pid-file "$D/run/mon.pid" || exit 1
u=$(cat /proc/sys/kernel/random/uuid); ceph $C osd new "$u" >/dev/null || exit 1
ceph-osd $C -i 0 --mkfs --osd-uuid "$u" >/dev/null 2>&1 || exit 1
ceph-osd $C -i 0 --pid-file "$D/run/osd.pid" || exit 1
radosgw $C -n client.rgw --pid-file "$D/run/rgw.pid" || exit 1
for _ in $(seq 300); do curl -s -o /dev/null http://127.0.0.1:18088/ && break; sleep .1; done
radosgw-admin $C -n client.rgw user create --uid=lab --display-name=lab --access-key=lab --secret-key=labsecret >/dev/null 2>&1 && echo ready
