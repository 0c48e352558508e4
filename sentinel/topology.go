package sentinel

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// Topology is who plays which role for one name, as the client sees it. It is a snapshot.
type Topology struct {
	Name string
	// Primary is the address that commands go to, as the sentinels name it; empty if there is none. Last is that of the last one.
	Primary, Last string
	// Since is when commands began to go there, or when there was none any more.
	Since time.Time
	// Epoch is the config-epoch that the sentinels gave the primary.
	Epoch int64
	// Provisional: the client moved to the primary before the sentinels announced it. Fenced: writes wait for a failover.
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

// published is what a snapshot was made of.
type published struct {
	view      follow.View
	seat      *seat
	sentinels []Sentinel
}

// same tells whether a snapshot of both would be the same to whoever looks.
func (p published) same(o published) bool {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	a, b := p.view, o.view
	return p.seat == o.seat && a.Phase == b.Phase && a.Addr == b.Addr && a.Epoch == b.Epoch && a.Since.Equal(b.Since) &&
		a.Settled == b.Settled && a.Reports == b.Reports && text(a.Cause) == text(b.Cause) &&
		slices.Equal(a.Replicas, b.Replicas) && slices.Equal(p.sentinels, o.sentinels)
}
