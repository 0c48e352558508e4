package watch

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// MaxReport bounds one reply of a sentinel, in bytes. A replica takes less than 1 KiB of it.
const MaxReport = 4 << 20

// ask gets one sentinel's report.
func ask(ctx context.Context, conn *wire.Conn, name string) (*follow.Report, error) {
	var primary map[string]string
	var replicas, peers []map[string]string
	p := radix.NewPipeline()
	p.Append(radix.Cmd(&primary, "SENTINEL", "MASTER", name))
	p.Append(radix.Cmd(&replicas, "SENTINEL", "REPLICAS", name))
	p.Append(radix.Cmd(&peers, "SENTINEL", "SENTINELS", name))
	if err := conn.Do(ctx, p); err != nil {
		return nil, err
	}
	r := &follow.Report{Addr: addrOf(primary), RunID: primary["runid"], Midway: strings.Contains(primary["flags"], "failover_in_progress")}
	epoch, err := strconv.ParseInt(primary["config-epoch"], 10, 64)
	if err != nil || CheckAddr(r.Addr) != nil {
		return nil, fmt.Errorf("sentinel's answer about %q has address %q and config-epoch %q", name, r.Addr, primary["config-epoch"])
	}
	r.Epoch = epoch
	if ms, err := strconv.ParseInt(primary["down-after-milliseconds"], 10, 32); err == nil {
		r.DownAfter = time.Duration(ms) * time.Millisecond
	}
	for _, fields := range replicas {
		if addr := addrOf(fields); CheckAddr(addr) == nil {
			r.Replicas = append(r.Replicas, follow.Replica{Addr: addr, RunID: fields["runid"], Usable: usable(fields), Lost: is(fields, "s_down", "o_down", "disconnected"), Down: is(fields, "s_down", "o_down")})
		}
	}
	for _, fields := range peers {
		if addr := addrOf(fields); CheckAddr(addr) == nil && fields["runid"] != "" {
			r.Peers = append(r.Peers, follow.Peer{ID: fields["runid"], Addr: addr})
		}
	}
	return r, nil
}

func addrOf(fields map[string]string) string { return net.JoinHostPort(fields["ip"], fields["port"]) }

func usable(replica map[string]string) bool {
	return !is(replica, "s_down", "o_down", "disconnected") && replica["master-link-status"] == "ok"
}

// is reports whether a replica has one of some flags.
func is(replica map[string]string, flags ...string) bool {
	return slices.ContainsFunc(strings.Split(replica["flags"], ","), func(flag string) bool { return slices.Contains(flags, flag) })
}
