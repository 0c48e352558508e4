package sentinel

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// maxReport bounds one reply of a sentinel, in bytes. A replica takes less than 1 KiB of it.
const maxReport = 4 << 20

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
	if err != nil || checkAddr(r.Addr) != nil {
		return nil, fmt.Errorf("sentinel's answer about %q has address %q and config-epoch %q", name, r.Addr, primary["config-epoch"])
	}
	r.Epoch = epoch
	if ms, err := strconv.ParseInt(primary["down-after-milliseconds"], 10, 32); err == nil {
		r.DownAfter = time.Duration(ms) * time.Millisecond
	}
	for _, fields := range replicas {
		if addr := addrOf(fields); checkAddr(addr) == nil {
			r.Replicas = append(r.Replicas, follow.Replica{Addr: addr, RunID: fields["runid"], Usable: usable(fields), Replicates: fields["role-reported"] == "slave"})
		}
	}
	for _, fields := range peers {
		if addr := addrOf(fields); checkAddr(addr) == nil && fields["runid"] != "" {
			r.Peers = append(r.Peers, follow.Peer{ID: fields["runid"], Addr: addr})
		}
	}
	return r, nil
}

func addrOf(fields map[string]string) string { return net.JoinHostPort(fields["ip"], fields["port"]) }

func usable(replica map[string]string) bool {
	for _, flag := range strings.Split(replica["flags"], ",") {
		switch flag {
		case "s_down", "o_down", "disconnected":
			return false
		}
	}
	return replica["master-link-status"] == "ok"
}

// role is what a server says that it is.
type role struct {
	primary bool
	offset  int64 // of replication, in bytes
	linked  bool  // a replica's link to its primary is up
}

// askRole asks a server for its role.
func askRole(ctx context.Context, conn *wire.Conn) (role, error) {
	var parts []any
	err := conn.Do(ctx, radix.Cmd(&parts, "ROLE"))
	if refusesCredentials(err) {
		return role{}, fmt.Errorf("%w: the user must be allowed to send ROLE: %w", ErrServerAuth, err)
	}
	if err != nil {
		return role{}, err
	}
	return parseRole(parts)
}

// parseRole reads ["master", offset, [replicas]] or ["slave", host, port, link, offset].
func parseRole(parts []any) (role, error) {
	text := func(i int) string {
		if i >= len(parts) {
			return ""
		}
		switch v := parts[i].(type) {
		case []byte:
			return string(v)
		case string:
			return v
		}
		return ""
	}
	number := func(i int) int64 {
		if i >= len(parts) {
			return 0
		}
		n, _ := parts[i].(int64) // an absent offset is 0
		return n
	}
	switch text(0) {
	case "master":
		return role{primary: true, offset: number(1)}, nil
	case "slave":
		return role{linked: text(3) == "connected", offset: number(4)}, nil
	case "sentinel":
		return role{}, fmt.Errorf("a sentinel answers where a server is expected")
	}
	return role{}, fmt.Errorf("ROLE answered %.80q", fmt.Sprint(parts...))
}
