package sentinel

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// maxReport bounds one reply of a sentinel, in bytes. A replica takes less than 1 KiB of it.
const maxReport = 4 << 20

// report is what one sentinel says about one name.
type report struct {
	by       *watcher
	at       time.Time
	addr     string // of the primary
	epoch    int64  // config-epoch
	midway   bool   // it leads a failover: its epoch is the new one already, its address still the old
	replicas []replicaReport
	peers    map[string]string // the other sentinels: id → address
}

// saying is who a report says is primary.
type saying struct {
	addr  string
	epoch int64
}

func (r *report) says() saying { return saying{r.addr, r.epoch} }

type replicaReport struct {
	addr   string
	usable bool // not down, not disconnected, and its link to the primary is up
}

// names tells whether the report has addr as primary or replica.
func (r *report) names(addr string) bool {
	if r.addr == addr {
		return true
	}
	for _, replica := range r.replicas {
		if replica.addr == addr {
			return true
		}
	}
	return false
}

// ask gets one sentinel's report.
func ask(ctx context.Context, conn *wire.Conn, name string) (*report, error) {
	var primary map[string]string
	var replicas, peers []map[string]string
	p := radix.NewPipeline()
	p.Append(radix.Cmd(&primary, "SENTINEL", "MASTER", name))
	p.Append(radix.Cmd(&replicas, "SENTINEL", "REPLICAS", name))
	p.Append(radix.Cmd(&peers, "SENTINEL", "SENTINELS", name))
	if err := conn.Do(ctx, p); err != nil {
		return nil, err
	}
	r := &report{at: time.Now(), addr: addrOf(primary), peers: make(map[string]string)}
	epoch, err := strconv.ParseInt(primary["config-epoch"], 10, 64)
	if err != nil || checkAddr(r.addr) != nil {
		return nil, fmt.Errorf("sentinel's answer about %q has address %q and config-epoch %q", name, r.addr, primary["config-epoch"])
	}
	r.epoch, r.midway = epoch, strings.Contains(primary["flags"], "failover_in_progress")
	for _, fields := range replicas {
		if addr := addrOf(fields); checkAddr(addr) == nil {
			r.replicas = append(r.replicas, replicaReport{addr, usable(fields)})
		}
	}
	for _, fields := range peers {
		if addr := addrOf(fields); checkAddr(addr) == nil && fields["runid"] != "" {
			r.peers[fields["runid"]] = addr
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
