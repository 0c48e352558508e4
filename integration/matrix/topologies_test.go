package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// otherName is that of a second primary.
const otherName = "other"

// ofTopologies are faults of a primary with its replicas, watched in other manners than by three
// sentinels on machines of their own.
func ofTopologies() []fault {
	no := "it knows no sentinels"
	with := func(name string, o redis.ClusterOptions, begin func(*testing.T, *subject)) fault {
		return fault{
			name: name, several: true, cluster: o, want: served,
			never: map[string]string{memcaches: no, groups: no, secondLevels: no},
			begin: begin,
			end: func(t *testing.T, s *subject) {
				t.Helper()
				if err := s.cluster.RestartKilled(); err != nil {
					t.Error(err)
				}
			},
		}
	}
	two := with("two primaries have the same sentinels, and the other one fails over",
		redis.ClusterOptions{Names: []string{primaryName, otherName}}, func(t *testing.T, s *subject) {
			t.Helper()
			failOver(t, s, otherName)
		})
	two.looks = func(s *subject) error { return s.elsewhere(context.Background()) }
	var repair func(*testing.T)
	unsaved := with("the primary's snapshots fail (MISCONF), so that sentinels replace it", redis.ClusterOptions{},
		func(t *testing.T, s *subject) {
			t.Helper()
			repair = failSnapshots(t, s.server)
			awaitPromotion(t, s)
		})
	unsaved.end = func(t *testing.T, _ *subject) { t.Helper(); repair(t) }
	return []fault{
		with("five sentinels, quorum three: two of them die with the primary", redis.ClusterOptions{Replicas: 2, Sentinels: 5, Quorum: 3}, crash),
		with("two of three sentinels die with the replicas", redis.ClusterOptions{Replicas: 2}, func(t *testing.T, s *subject) {
			t.Helper()
			killed := errors.Join(s.cluster.KillSentinel(1), s.cluster.KillSentinel(2))
			for _, replica := range s.cluster.Servers(primaryName)[1:] {
				killed = errors.Join(killed, replica.Kill())
			}
			if killed != nil {
				t.Error(killed)
			}
		}),
		two,
		with("a failover, and one of two replicas has priority 0", redis.ClusterOptions{Replicas: 2}, func(t *testing.T, s *subject) {
			t.Helper()
			never := s.cluster.Servers(primaryName)[1]
			tell(t, never, "CONFIG", "SET", "replica-priority", "0")
			awaitPriority(t, s.cluster, never, "0")
			if failOver(t, s, primaryName) == never {
				t.Error("sentinels have promoted a replica with priority 0")
			}
		}),
		with("a failover, and servers and sentinels are known by host names", redis.ClusterOptions{Host: "localhost"},
			func(t *testing.T, s *subject) { t.Helper(); failOver(t, s, primaryName) }),
		unsaved,
	}
}

// failOver has a planned failover, and returns the new primary. Writes wait: a client that is kept
// from running for a tenth of a second does not hear of the failover in time to hold them back.
func failOver(t *testing.T, s *subject, name string) *redis.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healing)
	defer cancel()
	before, err := s.cluster.Primary(ctx, name)
	if err != nil {
		t.Error(err)
		return nil
	}
	holdWrites(ctx, t, s.cluster.Servers(name))
	if err := s.cluster.Failover(ctx, name); err != nil {
		t.Error(err)
		return nil
	}
	after, err := s.cluster.AwaitPrimary(ctx, name, before)
	if err != nil {
		t.Error(err)
	}
	return after
}

// crash kills the primary and two sentinels. Redis loses what it has acknowledged and not yet
// copied, whatever a client does: so that nothing is, writes wait before.
func crash(t *testing.T, s *subject) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healing)
	defer cancel()
	servers := s.cluster.Servers(primaryName)
	holdWrites(ctx, t, servers)
	if err := errors.Join(s.cluster.KillSentinel(3), s.cluster.KillSentinel(4), servers[0].Kill()); err != nil {
		t.Error(err)
	}
	awaitPromotion(t, s)
}

// awaitPromotion waits until sentinels have another primary than the first, as long as it takes
// them: it would be the primary again, and empty, if it were started before.
func awaitPromotion(t *testing.T, s *subject) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*healing)
	defer cancel()
	for {
		_, err := s.cluster.AwaitPrimary(ctx, primaryName, s.cluster.Servers(primaryName)[0])
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// holdWrites has the first of some servers answer no writes, and waits until the others have all
// that it has answered.
func holdWrites(ctx context.Context, t *testing.T, servers []*redis.Server) {
	t.Helper()
	if _, err := servers[0].Do(ctx, "CLIENT", "PAUSE", "60000", "WRITE"); err != nil {
		t.Error(err)
	}
	awaitCopied(ctx, t, servers)
}

// awaitPriority waits until all sentinels know the priority of a replica.
func awaitPriority(t *testing.T, c *redis.Cluster, replica *redis.Server, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healing)
	defer cancel()
	for _, sentinel := range c.Sentinels() {
		for known := ""; known != want; time.Sleep(between) {
			view, err := sentinel.View(ctx, primaryName)
			if err != nil {
				t.Error(err)
				return
			}
			for _, r := range view.Replicas {
				if r["name"] == replica.Addr() {
					known = r["slave-priority"]
				}
			}
		}
	}
}

// errElsewhere is that of the second primary.
var errElsewhere = errors.New("the other primary does not answer")

// reached returns an error unless a command for a name is carried out within a moment.
func reached(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, healing)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", errElsewhere, err)
		}
		time.Sleep(between)
	}
}
