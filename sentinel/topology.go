package sentinel

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/director"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// Topology is a snapshot of the roles of all servers of one name, as the client sees them.
type Topology struct {
	Name string
	// Primary is the address that commands go to, as the sentinels name it; empty if there is none.
	// Last is that of the last one.
	Primary, Last string
	// Since is when commands began to go there, or when there was none any more.
	Since time.Time
	// Epoch is the config-epoch that the sentinels gave the primary.
	Epoch int64
	// Provisional: the client moved to the primary before the sentinels announced it. Fenced:
	// writes wait for a failover.
	Provisional, Fenced bool
	// Replicas are those that the sentinels list.
	Replicas []Replica
	// Sentinels are those that are known.
	Sentinels []Sentinel
}

// Replica is one replica.
type Replica struct {
	Addr string
	// Usable: the sentinels find nothing wrong with it.
	Usable bool
}

// Sentinel is one sentinel.
type Sentinel struct {
	Addr string
	// Up: it answers.
	Up bool
}

// topology makes one of a snapshot of the Director's.
func topology(name string, of *director.Snapshot) Topology {
	v, s := of.View, of.Seat
	t := Topology{
		Name: name, Last: s.Addr, Since: v.Since, Epoch: v.Epoch, Provisional: v.Phase == follow.Provisional, Fenced: v.Phase == follow.Fenced,
	}
	if s.Err == nil {
		t.Primary = s.Addr
	}
	for _, r := range of.Replicas {
		t.Replicas = append(t.Replicas, Replica{Addr: r.Addr, Usable: r.Usable})
	}
	for _, x := range of.Sentinels {
		t.Sentinels = append(t.Sentinels, Sentinel(x))
	}
	return t
}
